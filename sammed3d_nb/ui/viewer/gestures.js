// What mouse, trackpad, fingers and pen do on a view, in the terms of the program: scroll, zoom, pan, window, look,
// and a tool that is put down, moved and lifted. The tool (`tools.js`) gets positions in the slice, in whatever way
// they were pointed at.

const SLACK = 4; // CSS pixels that may lie between press and release of a click
const FINGER_SLACK = 10;
const NOTCH = 33; // a wheel's notch is at least so many pixels, even on a page zoomed to 300 %
const SLICE_PX = 40; // of a trackpad, for a slice
const SWIPE_PX = 14; // of a finger, for a slice
const LONG_MS = 600;
const LOG_ZOOM = Math.log(1.2); // most of one event; also a notch

// The middle of the device pixel that the mouse is on, from the canvas's corner, in CSS pixels; a canvas that CSS has
// scaled is measured as it is seen.
export function position(picture, event) {
  const box = picture.overlay.getBoundingClientRect();
  const ratio = window.devicePixelRatio;
  const centre = (value) =>
    event.pointerType === "mouse" || event.type === "wheel" ? (Math.floor(value * ratio + 0.01) + 0.5) / ratio : value;
  return [
    ((centre(event.clientX) - box.left) * picture.size[0]) / box.width,
    ((centre(event.clientY) - box.top) * picture.size[1]) / box.height,
  ];
}

function modifiers(event) {
  return ["ctrl", "shift", "alt", "meta"].filter((name) => event[`${name}Key`]);
}

export function listen(picture, hands, signal) {
  const target = picture.overlay;
  const pointers = new Map(); // held down, by id: the last position
  let held = null; // what the first of them does, by its `id`; two fingers pinch
  let rest = 0; // pixels scrolled that make no slice yet
  let restAt = 0;
  const on = (type, handler, options = {}) => target.addEventListener(type, handler, { signal, ...options });

  const begin = (event, at) => {
    const touch = event.pointerType === "touch";
    const erases = event.button === 2 || event.button === 5; // right button, pen's barrel, pen's other end
    if (event.button === 1 || (event.button === 0 && event.altKey)) return { kind: "pan" };
    if (event.button === 0 && event.shiftKey) return { kind: "window", window: hands.window() };
    if (event.button !== 0 && !erases) return null;
    const left = !erases && !event.ctrlKey;
    const finger = touch && !hands.tool().draws; // else it draws, and two fingers move
    const hold = { kind: finger ? "finger" : "tool", left, draws: hands.tool().draws };
    if (finger) {
      hold.timer = setTimeout(() => {
        if (held === hold && !hold.moved && hold.plane === picture.plane) {
          hands.tool().tap(picture, at, { ...hold, left: false });
          hold.kind = "done";
        }
      }, LONG_MS);
    }
    return hold;
  };

  const end = () => {
    clearTimeout(held?.timer);
    held = null;
  };

  const drop = () => {
    if (held?.started) hands.tool().cancel();
    end();
  };

  on("pointerdown", (event) => {
    if (picture.plane === null || picture.shown === null) {
      hands.early();
      return;
    }
    event.preventDefault(); // no selection, no scrolling by the middle button
    if (event.pointerType === "touch" && held?.pointerType === "pen") return; // the hand that holds the pen
    if (event.pointerType === "pen" && held?.pointerType === "touch") {
      drop(); // that hand came first
      pointers.clear();
    }
    target.setPointerCapture(event.pointerId);
    const at = position(picture, event);
    pointers.set(event.pointerId, at);
    hands.enter(picture);
    if (event.pointerType === "touch" && held?.pointerType === "touch" && pointers.size === 2) {
      drop();
      held = { kind: "pinch", pointerType: "touch", start: at, moved: true };
      return;
    }
    if (held !== null) return;
    held = begin(event, at);
    if (held === null) return;
    Object.assign(held, { start: at, last: at, shown: picture.shown, matrix: picture.matrix(), moved: false });
    Object.assign(held, { button: event.button, modifiers: modifiers(event), pointerType: event.pointerType });
    Object.assign(held, { id: event.pointerId, plane: picture.plane });
    if (held.kind === "tool") {
      held.started = true;
      hands.tool().down(picture, at, held);
    }
  });

  const drag = (event, at) => {
    const [right, down] = [at[0] - held.start[0], at[1] - held.start[1]];
    const slack = held.kind === "finger" ? FINGER_SLACK : SLACK;
    held.moved ||= held.kind === "pan" || Math.max(Math.abs(right), Math.abs(down)) > slack;
    if (held.kind === "pan") {
      hands.pan(picture, at[0] - held.last[0], at[1] - held.last[1]); // from the first pixel on: nothing slips
    } else if (held.kind === "window" && held.moved) {
      hands.drag(held.window, right / picture.size[0], -down / picture.size[1]);
    } else if (held.kind === "finger" && held.moved) {
      clearTimeout(held.timer);
      const slices = Math.trunc(down / SWIPE_PX);
      if (slices !== (held.slices ?? 0)) hands.scroll(picture, (held.slices ?? 0) - slices);
      held.slices = slices;
    } else if (held.kind === "tool") {
      hands.tool().move(picture, at, held, event);
    }
    held.last = at;
  };

  const pinch = (id, at) => {
    const [other] = [...pointers].filter(([known]) => known !== id).map(([, place]) => place);
    const before = pointers.get(id);
    if (other === undefined) return;
    const middle = (a) => [(a[0] + other[0]) / 2, (a[1] + other[1]) / 2];
    const apart = (a) => Math.max(Math.hypot(a[0] - other[0], a[1] - other[1]), 1);
    const [from, to] = [middle(before), middle(at)];
    hands.pan(picture, to[0] - from[0], to[1] - from[1]);
    hands.zoom(picture, apart(at) / apart(before), to);
  };

  on("pointermove", (event) => {
    if (picture.plane === null || picture.shown === null) return;
    const at = position(picture, event);
    if (event.pointerType !== "touch") hands.hover(picture, at, modifiers(event));
    if (!pointers.has(event.pointerId)) return;
    if (held?.kind === "pinch") pinch(event.pointerId, at);
    else if (held?.id === event.pointerId && held.kind !== "done" && held.plane === picture.plane) drag(event, at);
    pointers.set(event.pointerId, at);
  });

  on("pointerup", (event) => {
    if (!pointers.delete(event.pointerId) || held === null) return;
    if (held.kind === "pinch") {
      if (pointers.size === 0) held = null;
      return;
    }
    if (held.id !== event.pointerId) return;
    const at = position(picture, event); // whichever button a mouse let go last: none is down any more
    const was = held;
    if (was.plane !== picture.plane) {
      end();
      if (was.kind === "tool" && (was.draws || !was.moved)) hands.late(was.draws ? "stroke" : "press");
      return;
    }
    if (was.kind !== "done") drag(event, at);
    end();
    if (was.kind === "window" && !was.moved) hands.look(picture, was.start);
    if ((was.kind === "tool" || was.kind === "finger") && !was.moved) hands.tool().tap(picture, was.start, was);
    else if (was.kind === "tool") hands.tool().up(picture);
  });

  const cancel = (event) => {
    pointers.delete(event.pointerId);
    if (held?.id === event.pointerId) drop();
    else if (pointers.size === 0) end();
  };
  on("pointercancel", cancel);
  on("lostpointercapture", (event) => {
    if (pointers.has(event.pointerId)) cancel(event);
  });
  on("pointerenter", () => hands.enter(picture));
  on("pointerleave", (event) => {
    if (!pointers.has(event.pointerId)) hands.leave();
  });
  on("contextmenu", (event) => event.preventDefault());

  on("wheel", (event) => {
    event.preventDefault(); // neither the notebook nor the browser's zoom moves
    if (picture.plane === null) return;
    hands.enter(picture);
    const { deltaY } = event;
    if (event.shiftKey && hands.tool().brush) {
      const turned = (deltaY || event.deltaX) * (event.deltaMode === 0 ? 1 : 33); // some systems turn it sideways
      hands.size(Math.exp(Math.min(Math.max(-turned / 550, -LOG_ZOOM), LOG_ZOOM)));
      return;
    }
    if (deltaY === 0) return; // sideways
    if (event.ctrlKey || event.metaKey) {
      const pixels = event.deltaMode === 0 ? deltaY : deltaY * 33;
      hands.zoom(picture, Math.exp(Math.min(Math.max(-pixels / 100, -LOG_ZOOM), LOG_ZOOM)), position(picture, event));
      return;
    }
    const up = -Math.sign(deltaY);
    const amount = Math.abs(deltaY);
    if (event.deltaMode !== 0 || amount >= NOTCH) {
      rest = 0;
      const notch = [120, 3, 1][event.deltaMode];
      hands.scroll(picture, up * Math.max(1, Math.round(amount / notch)));
      return;
    }
    const now = performance.now();
    if (now - restAt > 300 || Math.sign(rest) !== up) rest = 0; // another gesture
    restAt = now;
    rest += up * amount;
    const slices = Math.trunc(rest / SLICE_PX);
    rest -= slices * SLICE_PX;
    if (slices !== 0) hands.scroll(picture, slices);
  }, { passive: false });
}
