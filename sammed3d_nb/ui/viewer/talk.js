// Telling the kernel where the page is: late, at most one message on its way, and only the newest of each kind.

const EVERY_MS = 150; // between two messages about slices, regions and the window
const HOVER_MS = 50; // between two messages about what is under the mouse
const REST_MS = 150; // without scrolling, before the kernel is told what is under a mouse that has not moved
const LOST_MS = 3000; // an acknowledgement that has not come by then will not come

export class Talk {
  // `state()` is what has changed since it was asked last, or null; `hover()` the same for the mouse.
  constructor(send, state, hover) {
    Object.assign(this, { send, state, hover });
    this.count = 0;
    this.waiting = { state: 0, hover: 0 }; // since when an acknowledgement is due
    this.last = { state: 0, hover: 0 };
    this.timer = { state: null, hover: null };
    this.scrolled = 0;
  }

  // Something of a kind ("state", "hover") has changed.
  changed(kind) {
    if (this.timer[kind] !== null) return;
    const now = performance.now();
    const every = kind === "state" ? EVERY_MS : HOVER_MS;
    let wait = Math.max(this.last[kind] + every - now, 0);
    if (kind === "hover") wait = Math.max(wait, this.scrolled + REST_MS - now);
    if (this.waiting[kind] > 0) wait = Math.max(wait, this.waiting[kind] + LOST_MS - now);
    this.timer[kind] = setTimeout(() => {
      this.timer[kind] = null;
      if (kind === "hover" && performance.now() < this.scrolled + REST_MS - 1) this.changed(kind);
      else this.tell(kind);
    }, wait);
  }

  tell(kind) {
    clearTimeout(this.timer[kind]);
    this.timer[kind] = null;
    const content = kind === "state" ? this.state() : this.hover();
    if (content === null) return;
    this.last[kind] = this.waiting[kind] = performance.now();
    this.send({ ...content, n: ++this.count, kind });
  }

  // Tell at once what has not been told yet: something follows that the kernel has to see afterwards.
  flush() {
    for (const kind of ["state", "hover"]) if (this.timer[kind] !== null) this.tell(kind);
  }

  // The kernel has heard a message of a kind.
  heard(kind) {
    this.waiting[kind] = 0;
    if (this.timer[kind] === null) return;
    clearTimeout(this.timer[kind]);
    this.timer[kind] = null;
    this.changed(kind);
  }

  stop() {
    for (const kind of Object.keys(this.timer)) clearTimeout(this.timer[kind]);
  }
}
