// The keys that need no kernel: those of `shortcuts.py` that move through slices or change how they are drawn. They are
// heard before `page.js` hears them; it sends the others to the kernel.

import { keyName, takesKey } from "./keynames.js";

const SLICES = { slice_up: 1, slice_down: -1, slice_up_10: 10, slice_down_10: -10 };
const ZOOM = { zoom_in: 1.25, zoom_out: 0.8 };
const BRUSH = { brush_larger: 1.2, brush_smaller: 1 / 1.2 };
const FADE = { opacity_up: 0.1, opacity_down: -0.1 };

// Do an action of `shortcuts.py`; returns whether it is one of these.
function act(views, action) {
  const { active, scene } = views;
  const flag = action.startsWith("toggle_") ? action.slice(7) : "";
  if (action in SLICES) views.scroll(active, SLICES[action]);
  else if (action in ZOOM) views.zoom(active, ZOOM[action], active.region.centre);
  else if (action === "fit") views.fit();
  else if (action in views.presets) views.setWindow(views.presets[action]);
  else if (action.startsWith("tool_")) return views.row.arm(action.slice(5)); // the kernel says why not
  else if (action in BRUSH) views.row.size(BRUSH[action]);
  else if (action === "toggle_sign") views.row.sign(!scene.left);
  else if (flag in scene.display) views.set(flag, !scene.display[flag]);
  else if (action in FADE) {
    const faded = Math.min(Math.max(scene.display.opacity + FADE[action], 0), 1);
    views.set("opacity", Math.round(faded * 100) / 100);
  } else return false;
  return true;
}

export function listenToKeys(views, signal) {
  const inVoila = document.body.dataset.voila !== undefined;
  window.addEventListener("keydown", (event) => {
    const app = views.root.closest(".sammed3d-app");
    if (takesKey(event.target, event.key.toLowerCase()) || !(inVoila || app?.contains(event.target))) return;
    if (event.key === "Escape" && views.scene.tool.stroke !== null) {
      views.scene.tool.cancel();
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    const action = views.keys[keyName(event)];
    if (action === undefined || views.scene.volume === null || !act(views, action)) {
      views.talk.flush(); // what the kernel does may depend on where we are
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
  }, { capture: true, signal });
}
