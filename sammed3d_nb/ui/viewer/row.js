// The page's end of the tool row (`tool_row.py`): tools, brush and sign change here at once, and the kernel hears of it;
// what was drawn goes there as one message.

import { inside, toVoxel } from "./geometry.js";

export class Row {
  constructor(views, signal) {
    this.views = views;
    window.addEventListener("click", (event) => this.pick(event.target), { capture: true, signal });
    window.addEventListener("snb-lost", () => this.forget(), { signal });
  }

  // What got lost on the way is said by `health.js`; it is not to look as if it counted.
  forget() {
    const { scene } = this.views;
    scene.tool.waiting = [];
    this.views.ahead = [];
    scene.marks = this.views.marks;
    this.views.redraw(false);
  }

  // The tool that the kernel has armed.
  take(armed) {
    const { scene, changes } = this.views;
    scene.armed = armed;
    delete changes.tool;
    delete changes.mm;
    this.show();
  }

  show() {
    const { root, scene: { armed, tool } } = this.views;
    root.dataset.tool = armed.name;
    root.toggleAttribute("data-draws", tool.draws);
    for (const button of root.closest(".sammed3d-app")?.querySelectorAll(".snb-tool") ?? []) {
      button.classList.toggle("mod-active", button.classList.contains(`snb-tool_${armed.name}`));
    }
    this.views.redraw(false);
  }

  // Returns false where a tool cannot be armed.
  arm(name) {
    const { scene } = this.views;
    const found = scene.tools.find((tool) => tool.name === name);
    if (found === undefined || found.refused !== "") return false;
    scene.tool.cancel();
    scene.armed = { ...scene.armed, ...found };
    this.views.told({ tool: name });
    this.show();
    return true;
  }

  // A button of the row was pressed; its own message to the kernel comes after ours.
  pick(target) {
    const button = target.closest?.(".snb-tool");
    if (!button || button.disabled || !this.views.root.closest(".sammed3d-app")?.contains(button)) return;
    const name = [...button.classList].find((one) => one.startsWith("snb-tool_"))?.slice("snb-tool_".length);
    if (name !== undefined && this.arm(name)) this.views.talk.flush();
  }

  size(factor) {
    const { scene } = this.views;
    const mm = Math.round(Math.min(Math.max(scene.armed.mm * factor, 0.5), 100) * 100) / 100;
    scene.armed = { ...scene.armed, mm };
    this.views.told({ mm });
    this.views.redraw(false);
  }

  sign(positive) {
    this.views.scene.left = positive;
    this.views.told({ left: positive });
  }

  // A click: its mark is seen at once, its mask follows.
  press(picture, place, { shown, matrix, left, modifiers, button }) {
    const { views } = this;
    const { scene } = views;
    const [column, row] = picture.at(...place);
    const voxel = toVoxel(picture.plane, column, row, shown);
    const sign = left ? scene.left : scene.left === null ? null : false;
    const n = ++views.presses;
    if (sign !== null && sign !== undefined && inside(voxel, scene.volume)) {
      views.ahead.push({ n, mark: [...voxel, sign] });
      scene.marks = [...views.marks, ...views.ahead.map(({ mark }) => mark)];
      views.move(voxel);
      views.redraw(false);
    }
    const state = views.state();
    const at = views.at(picture, place, shown, matrix);
    views.send({ type: "press", ...at, left, modifiers, button, state, n, kind: "press" });
  }

  // `page.js` counts what is drawn, so that what gets lost is said.
  count() {
    this.views.root.dispatchEvent(new CustomEvent("snb-stroke", { bubbles: true }));
  }

  // What was drawn, as it was drawn: positions on the canvas by the transform of its press, though the view may have
  // been moved since.
  finish(stroke) {
    const { picture, matrix: [[a, , c], [, e, f]], shown, name, mm, ball, positive, points, button, modifiers } = stroke;
    stroke.n = ++this.views.presses;
    const round = (pixels) => Math.round(pixels * 1000) / 1000;
    this.count();
    this.views.send({
      type: "stroke", kind: "stroke", n: stroke.n, plane: picture.name, slice: shown, matrix: stroke.matrix,
      points: points.map(([column, row]) => [round((column - c) / a), round((row - f) / e)]),
      tool: name, mm, ball, positive, button, modifiers, state: this.views.state(),
    });
  }
}
