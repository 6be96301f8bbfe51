// What pointing at a slice means. A tool may have
//   down, move, up (picture, at, held, event): a press, what follows while it is held, and its end after a drag;
//   tap (picture, at, held): a press and release on the spot; also a finger's;
//   cancel (picture): what was begun does not count;
//   draw (context, picture): its strokes, in CSS pixels over the slice, at every frame of the lines.
// `at` is CSS pixels on the view (`picture.at` makes columns and rows of them), `held` has `left`, `modifiers`,
// `pointerType`, and `shown` and `matrix`, the slice and its transform at the press; `event.pressure` is the pen's.

export class Click {
  constructor(press) {
    this.tap = press;
  }
}
