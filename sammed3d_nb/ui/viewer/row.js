// The page's end of the tool row (`tool_row.py`): tools, brush and sign change here at once, and the kernel hears of it;
// what was drawn goes there as one message.

import { inside, middle, toVoxel } from "./geometry.js";

const [LEAST_MM, MOST_MM] = [0.5, 100]; // of a brush, as in `stroke.py`

export class Row {
  constructor(views, signal) {
    this.views = views;
    const ours = (handle) => (event) => {
      const app = this.views.root.closest(".sammed3d-app"); // one of several on the page
      if (app !== null && event.target.closest?.(".sammed3d-app") === app) handle(event.target);
    };
    window.addEventListener("click", ours((target) => this.pick(target)), { capture: true, signal });
    window.addEventListener("change", ours((target) => this.type(target)), { capture: true, signal });
    window.addEventListener("snb-lost", ours(() => this.forget()), { signal });
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
    delete changes.ball;
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

  // A button of the row was pressed: it counts from now on, whenever the kernel hears of it. Its own message to the
  // kernel comes after ours.
  pick(target) {
    const button = target.closest?.("button");
    if (!button || button.disabled) return;
    if (button.classList.contains("snb-tool")) {
      const name = [...button.classList].find((one) => one.startsWith("snb-tool_"))?.slice("snb-tool_".length);
      if (name === undefined || !this.arm(name)) return;
    } else if (button.closest(".snb-sign")) this.sign(button.getAttribute("value") === "0"); // + stands before −
    else if (button.classList.contains("snb-brush-ball")) this.shape({ ball: !button.classList.contains("mod-active") });
    else return;
    this.views.talk.flush();
  }

  // A diameter was typed.
  type(target) {
    const mm = Number.parseFloat(target.value);
    if (!target.closest(".snb-brush-size") || Number.isNaN(mm)) return;
    this.shape({ mm: Math.min(Math.max(mm, LEAST_MM), MOST_MM) });
    this.views.talk.flush();
  }

  // What is typed and not confirmed counts when one goes on to draw.
  takeTyped() {
    const { activeElement } = document;
    if (activeElement?.closest(".snb-brush-size")) activeElement.blur();
  }

  size(factor) {
    const mm = Math.min(Math.max(this.views.scene.armed.mm * factor, LEAST_MM), MOST_MM);
    this.shape({ mm: Math.round(mm * 100) / 100 });
  }

  // Another brush.
  shape(changed) {
    const { scene } = this.views;
    scene.armed = { ...scene.armed, ...changed };
    this.views.told(changed);
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
    if (stroke.says === "sign" && !stroke.turns) this.follow(stroke); // a prompt
    stroke.n = ++this.views.presses;
    const round = (pixels) => Math.round(pixels * 1000) / 1000;
    this.count();
    this.views.send({
      type: "stroke", kind: "stroke", n: stroke.n, plane: picture.name, slice: shown, matrix: stroke.matrix,
      points: points.map(([column, row]) => [round((column - c) / a), round((row - f) / e)]),
      tool: name, mm, ball, positive, button, modifiers, state: this.views.state(),
    });
  }
  // The other views show what was said on one of them; the kernel does not move them, since one may scroll on meanwhile.
  follow({ picture, shape, points, shown }) {
    const at = middle(picture.plane, points, shape === "line");
    if (at !== null) this.views.move(toVoxel(picture.plane, ...at, shown));
  }
}
