// The few things that only the page can do: keys for the whole app, its size and theme, the clipboard, downloads, where
// the user was, and noticing that the kernel no longer answers. Everything else happens in the kernel.
// `viewer/keynames.js`, `health.js`, `access.js` and `floating.js` stand before this file.

const PLACES = "sammed3d places";
const MOST_PLACES = 50;
const REST_MS = 400; // after the last move of mouse or keys, the kernel is asked where the views are

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // pages over plain http from another machine have no clipboard API
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function download(name, bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Where the user was in each volume, newest last; the browser keeps it, so that it outlives the kernel.
function places() {
  try {
    return JSON.parse(localStorage.getItem(PLACES)) ?? {};
  } catch {
    return {}; // none, damaged, or storage is forbidden
  }
}

function keepPlace(key, place) {
  const { [key]: _, ...others } = places();
  const kept = [...Object.entries(others), [key, place]].slice(-MOST_PLACES);
  try {
    localStorage.setItem(PLACES, JSON.stringify(Object.fromEntries(kept)));
  } catch {
    // a page that may keep nothing works all the same
  }
}

function render({ model, el }) {
  const abort = new AbortController();
  const { signal } = abort;
  const inVoila = document.body.dataset.voila !== undefined;
  const keys = new Set(model.get("hotkeys"));
  const health = watch({ model, inVoila });
  let root = null;
  let resize = null;
  let naming = null;
  let rest = null;

  const stirred = () => {
    clearTimeout(rest);
    rest = setTimeout(health.ping, REST_MS);
  };

  const onKey = (event) => {
    const key = keyName(event);
    if (event.type === "keydown" && key === "escape" && takesText(event.target)) {
      health.post({ type: "key", key }); // the field itself wants it too
      return;
    }
    if (event.type === "keydown" && !takesKey(event.target, event.key.toLowerCase()) && keys.has(key)) {
      event.preventDefault();
      health.post({ type: "key", key });
      stirred();
    } else if (!event.target.closest("canvas, .jupyter-matplotlib")) {
      return;
    }
    event.stopPropagation(); // else ipympl would swallow every key, the browser's own too
  };

  const onPress = (event) => {
    if (!takesText(event.target)) root.focus({ preventScroll: true });
    const draws = event.target.closest("[data-draws]"); // what is drawn is counted when it is finished
    const clicks = (event.button === 0 || event.button === 2) && !event.shiftKey && !event.altKey && !draws;
    const view = event.target.closest(".snb-view");
    if (clicks && view && event.target.closest("canvas, .jupyter-matplotlib")) {
      const blank = Boolean(view.closest(".snb-drawn-here")) && view.dataset.slice === undefined;
      health.post({ type: "press", blank });
    }
  };

  const measure = () => {
    const panel = root.closest(".jp-NotebookPanel-notebook, .jp-Notebook");
    const height = inVoila ? window.innerHeight : (panel?.clientHeight ?? window.innerHeight) - 24;
    const bar = root.querySelector(".snb-toolbar")?.offsetHeight ?? 0;
    const size = [Math.floor(root.clientWidth), Math.floor(height), bar];
    if (size[0] > 0 && String(size) !== String(model.get("size"))) {
      model.set("size", size);
      model.save_changes();
    }
  };

  const recall = () => {
    const key = model.get("place");
    if (key) model.send({ type: "place", key, place: places()[key] ?? null });
  };

  const caseInAddress = () => {
    const number = model.get("case");
    if (!inVoila || number < 0) return;
    const address = new URL(location.href);
    if ((address.searchParams.get("case") ?? "0") === String(number)) return;
    address.searchParams.set("case", number);
    history.replaceState(history.state, "", address);
  };

  const attach = () => {
    root = el.closest(".sammed3d-app");
    if (root === null) {
      requestAnimationFrame(attach);
      return;
    }
    root.tabIndex = -1;
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", "sammed3d, interactive segmentation");
    root.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes d d for "delete this cell"
    root.append(health.banner);
    const ear = inVoila ? document : root;
    for (const type of ["keydown", "keyup"]) ear.addEventListener(type, onKey, { capture: true, signal });
    root.addEventListener("pointerdown", onPress, { signal });
    root.addEventListener("snb-stroke", () => health.post({ type: "press" }), { signal });
    for (const type of ["pointermove", "pointerup", "wheel", "keyup"]) {
      root.addEventListener(type, stirred, { passive: true, signal });
    }
    root.addEventListener("click", async (event) => {
      if (!event.target.closest(".snb-copy")) return;
      await toClipboard(model.get("clipboard"));
      model.send({ type: "copied" });
    }, { signal });
    giveFocusBack(root, signal);
    followTheme(root, inVoila, signal);
    floating(root, signal);
    naming = new MutationObserver(() => {
      clearTimeout(naming.timer);
      naming.timer = setTimeout(() => nameControls(root), 100);
    });
    naming.observe(root, { subtree: true, childList: true, attributes: true, attributeFilter: ["class"] });
    nameControls(root);
    resize = new ResizeObserver(() => {
      clearTimeout(resize.timer);
      resize.timer = setTimeout(measure, 120);
    });
    resize.observe(root);
    const bar = root.querySelector(".snb-toolbar");
    if (bar) resize.observe(bar);
    window.addEventListener("resize", () => measure(), { signal });
    window.addEventListener("pagehide", (event) => {
      if (inVoila && !event.persisted) model.send({ type: "left" }); // each page has a kernel of its own
    }, { signal });
    measure();
    recall();
    caseInAddress();
    health.ping(); // what has changed while the page loaded comes now
  };

  const onMessage = (message, buffers) => {
    if (message.type === "pong") {
      if (message.place) keepPlace(...message.place);
      health.onPong(message);
    } else if (message.type === "download") {
      download(message.name, buffers[0]);
    } else if (message.type === "focus") {
      // once the page has shown it
      setTimeout(() => {
        const found = root?.querySelector(message.selector);
        found?.focus();
        found?.select?.();
      }, 50);
    }
  };
  model.on("msg:custom", onMessage);
  model.on("change:place", recall);
  model.on("change:case", caseInAddress);

  attach();
  return () => {
    abort.abort();
    clearTimeout(rest);
    health.stop();
    resize?.disconnect();
    naming?.disconnect();
    model.off("msg:custom", onMessage);
    model.off("change:place", recall);
    model.off("change:case", caseInAddress);
  };
}

export default { render };
