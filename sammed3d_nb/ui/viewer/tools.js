// What pointing at a slice means: the tool that is armed. Its shape (`stroke.py`) says what is drawn, here and at once;
// the finished line goes to the kernel as one message, with the slice and the transform of its press.
//   down, move, up (picture, at, held, event): a press, what follows while it is held, and its end after a drag;
//   tap (picture, at, held): a press and release on the spot; also a finger's;
//   cancel (): what was begun does not count;
//   draw (context, picture, shades): what is drawn now or waits for the kernel, at every frame of the lines.
// `at` is CSS pixels on the view (`picture.at` makes columns and rows of them), `held` has `left`, `button`,
// `modifiers`, `pointerType`, `draws` (whether the tool of the press did), and `shown` and `matrix`, the slice and its
// transform at the press.

import { position } from "./gestures.js";
import { drawCircle, drawStroke } from "./marks.js";

const APART = 0.6; // CSS pixels that two points of a line are apart at least
const TWO_ENDS = ["box", "ruler"];

// Whether a stroke adds; `sign` is what the sign says. As `stroke.Armed.positive`.
export function adds(tool, { left, button }, sign) {
  if (button === 5) return false; // a pen's eraser
  const says = tool.says === "sign" ? sign : tool.says === "yes";
  return left ? says : tool.turns && !says;
}

export class Tools {
  // `scene` is what the views share; `press(picture, at, held)` takes clicks, `finish(stroke)` what was drawn, and
  // `changed(picture)` is called when a view's lines have.
  constructor(scene, press, finish, changed) {
    Object.assign(this, { scene, press, finish, changed });
    this.stroke = null; // being drawn: { tool, picture, shown, matrix, points, positive, … }
    this.waiting = []; // drawn, and not yet what it is to become
  }

  // Whether dragging draws.
  get draws() {
    return this.scene.armed.shape !== "click";
  }

  get brush() {
    return this.scene.armed.shape === "brush";
  }

  down(picture, at, held) {
    if (!this.draws) return;
    const { armed, left } = this.scene;
    const { shown, matrix, button, modifiers } = held;
    const points = [picture.at(...at)];
    const positive = adds(armed, held, left ?? true);
    this.stroke = { ...armed, picture, shown, matrix, button, modifiers, positive, points, last: at };
    this.changed(picture);
  }

  move(picture, at, held, event) {
    const { stroke } = this;
    if (stroke === null || picture.shown !== stroke.shown) return; // another slice is seen: nothing is drawn on this one
    if (TWO_ENDS.includes(stroke.shape)) {
      stroke.points[1] = picture.at(...at);
    } else {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length > 0 ? events : [event]) {
        const place = position(picture, one);
        if (Math.hypot(place[0] - stroke.last[0], place[1] - stroke.last[1]) < APART) continue;
        stroke.points.push(picture.at(...place));
        stroke.last = place;
      }
    }
    this.changed(picture);
  }

  tap(picture, at, held) {
    if (this.stroke !== null) this.up(picture);
    else if (!this.draws && !held.draws) this.press(picture, at, held); // else another tool was armed meanwhile
  }

  up(picture) {
    const { stroke } = this;
    if (stroke === null) return;
    this.stroke = null;
    this.waiting.push(stroke);
    this.finish(stroke);
    this.changed(picture);
  }

  cancel() {
    const { stroke } = this;
    this.stroke = null;
    if (stroke !== null) this.changed(stroke.picture);
  }

  // What the kernel has done with strokes up to a number is seen by itself.
  settled(number) {
    this.waiting = this.waiting.filter(({ n }) => n > number);
  }

  forget() {
    this.stroke = null;
    this.waiting = [];
  }

  draw(context, picture, shades, mouse) {
    for (const stroke of [...this.waiting, ...(this.stroke === null ? [] : [this.stroke])]) {
      if (stroke.picture === picture && stroke.shown === picture.shown) drawStroke(context, picture, stroke, shades);
    }
    if (this.brush && mouse !== null && mouse[0] === picture) {
      drawCircle(context, mouse[1], (this.scene.armed.mm * picture.region.scale) / 2, shades);
    }
  }
}
