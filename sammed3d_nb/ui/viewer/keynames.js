// How a key is written in `shortcuts.py`, and which keys a control keeps for itself. Part of both modules: of the
// views', and of the page's (`page.js`).

// Alt is no part of a sign's name: on some layouts (a Mac's Option) it takes Alt to type [ or ]. Letters and digits keep
// it, for Alt with those belongs to browsers and systems.
export function keyName(event) {
  const key = event.key.toLowerCase();
  const sign = key.length === 1 && !/[\p{L}\p{N}\s]/u.test(key);
  const shift = event.shiftKey && (key.length > 1 || key !== key.toUpperCase()) ? "shift+" : "";
  return (event.ctrlKey || event.metaKey ? "ctrl+" : "") + (event.altKey && !sign ? "alt+" : "") + shift + key;
}

export function takesText(target) {
  return target.matches?.("input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable=true]") ?? false;
}

// Whether a control needs a key for itself while it has the focus.
export function takesKey(target, key) {
  if (takesText(target)) return true;
  return /^(arrow|page|home|end)/.test(key) && target.matches?.("[role=slider], [role=radio], input[type=range]");
}
