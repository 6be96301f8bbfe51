// What ipywidgets leaves out for keyboards and screen readers: names, states, and the focus.

const PLANES = ["axial", "coronal", "sagittal"];

function planeOf(element) {
  const view = element.closest(".snb-view");
  return PLANES.find((name) => view?.classList.contains(`snb-${name}`));
}

const NAMED = [
  // [what, its name from where]
  [".widget-dropdown select", (at) => at.closest("[title]")?.title],
  [".widget-text input, .widget-inline-hbox input", (at) => at.closest("[title]")?.title ?? at.placeholder],
  [".noUi-handle", (at) => {
    const plane = planeOf(at);
    return plane ? `Slice of the ${plane} view` : at.closest(".widget-slider")?.querySelector(".widget-label")?.textContent;
  }],
  [".snb-view canvas:last-of-type, .snb-k3d canvas, .jupyter-matplotlib-canvas-div", (at) => {
    const plane = planeOf(at);
    return plane ? `The ${plane} slice` : "The masks in 3D";
  }],
];

function nameControls(root) {
  const put = (element, name, value) => {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  };
  for (const [what, named] of NAMED) {
    for (const element of root.querySelectorAll(what)) {
      const name = element.getAttribute("aria-label") ? null : named(element);
      if (name) put(element, "aria-label", name);
      if (element.tagName === "CANVAS") put(element, "role", "img");
    }
  }
  for (const button of root.querySelectorAll("button.jupyter-widgets.widget-toggle-button, .widget-toggle-buttons button, button.snb-tool")) {
    put(button, "aria-pressed", String(button.classList.contains("mod-active")));
  }
  for (const row of root.querySelectorAll(".snb-tools-choice")) {
    put(row, "role", "toolbar");
    put(row, "aria-label", "Tools");
  }
  for (const select of root.querySelectorAll(".snb-toolbar select")) {
    const chosen = select.selectedOptions[0]?.textContent ?? "";
    put(select, "title", chosen); // it may be cut
  }
}

// Light or dark, as JupyterLab's theme or the system is.
function followTheme(root, inVoila, signal) {
  const system = matchMedia("(prefers-color-scheme: light)");
  const follow = () => {
    const light = inVoila ? system.matches : document.body.dataset.jpThemeLight === "true";
    root.classList.toggle("snb-light", light);
  };
  follow();
  system.addEventListener("change", follow, { signal });
  const watched = new MutationObserver(follow);
  watched.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  signal.addEventListener("abort", () => watched.disconnect());
}

// After a choice or a typed value the keys belong to the app again.
function giveFocusBack(root, signal) {
  const back = () => root.focus({ preventScroll: true });
  root.addEventListener("change", (event) => {
    if (event.target.matches("select, input[type=color]")) back();
  }, { signal });
  root.addEventListener("click", (event) => {
    if (event.target.matches("input[type=range]") && event.detail > 0) back(); // by the mouse; keys go on there
  }, { signal });
  const before = new WeakMap();
  root.addEventListener("focusin", (event) => {
    if (event.target.matches("input")) before.set(event.target, event.target.value);
  }, { signal });
  root.addEventListener("keydown", (event) => {
    if (!event.target.matches(".widget-text input, .widget-inline-hbox input")) return;
    if (event.key === "Escape") event.target.value = before.get(event.target) ?? event.target.value;
    if (event.key === "Escape" || event.key === "Enter") requestAnimationFrame(back); // ipywidgets first
  }, { signal, capture: true });
}
