// Three linked slice views that the page draws by itself. The kernel (`page_renderer.py`) sends slices and masks, is
// asked for those that will be needed, and is told late where the page is; clicks alone it hears of at once.

import { unable } from "./able.js";
import { unpackMasks, unpackSlice } from "./codec.js";
import { inside, moved, toVoxel, whole, zoomed } from "./geometry.js";
import { listen } from "./gestures.js";
import { listenToKeys } from "./keys.js";
import { Picture } from "./picture.js";
import { Row } from "./row.js";
import { Store } from "./store.js";
import { Talk } from "./talk.js";
import { Tools } from "./tools.js";

const FLAGS = ["opacity", "masks", "contours", "prompts", "crosshair", "cube", "smooth"]; // traits of the widget
const PLANES = ["axial", "coronal", "sagittal"];

class Views {
  constructor(model, el) {
    this.model = model;
    this.page = globalThis.crypto?.randomUUID?.() ?? String(Math.random());
    this.abort = new AbortController();
    const { signal } = this.abort;
    this.root = document.createElement("div");
    this.root.className = "snb-views snb-drawn-here";
    this.pictures = Object.fromEntries(PLANES.map((name) => [name, new Picture(name)]));
    for (const name of PLANES) this.root.append(this.pictures[name].root);
    el.append(this.root);
    this.scene = {
      generation: 0, volume: null, cross: [0, 0, 0], window: [40, 400], objects: [], marks: [], cubes: [],
      display: Object.fromEntries(FLAGS.map((flag) => [flag, model.get(flag)])),
      armed: { name: "point", shape: "click", says: "sign", turns: false, mm: 10, ball: false }, tools: [],
      lines: [], measures: [], shades: ["#fff", "#fff", "#000"],
      mouse: null, // where it is: [picture, position, modifiers]
    };
    this.scene.tool = new Tools(
      this.scene,
      (picture, at, held) => this.row.press(picture, at, held),
      (stroke) => this.row.finish(stroke),
      (picture) => this.retrace(picture),
    );
    this.marks = []; // of the kernel
    this.ahead = []; // clicks that the kernel has not answered yet: { n, mark }
    this.presses = 0;
    this.travel = ["axial", 1];
    this.scrolled = null; // the view that was scrolled, if that was the last move
    this.active = this.pictures.axial;
    this.hovered = "";
    this.changes = {}; // that the kernel has not been told of
    this.keys = {};
    this.presets = {};
    this.arrangement = null;
    this.row = new Row(this, signal);
    this.store = new Store((list) => this.send({ type: "want", list }));
    this.talk = new Talk((content) => this.send(content), () => this.state(), () => this.hover());
    this.queue = Promise.resolve();
    this.frames = 0;
    this.frame = null;
    for (const picture of Object.values(this.pictures)) {
      listen(picture, this.hands(), signal);
      picture.slider.addEventListener("input", () => this.slide(picture), { signal });
      picture.slider.addEventListener("focus", () => (this.active = picture), { signal });
    }
    this.onMessage = (message, buffers) => this.receive(message, buffers);
    model.on("msg:custom", this.onMessage);
    this.onFlag = () => {
      for (const flag of FLAGS) this.scene.display[flag] = model.get(flag);
      this.redraw();
    };
    for (const flag of FLAGS) model.on(`change:${flag}`, this.onFlag);
    listenToKeys(this, signal);
    window.addEventListener("pointerdown", (event) => {
      if (this.root.contains(event.target)) this.row.takeTyped();
      else this.talk.flush(); // a button: the kernel is to know where we are
    }, { capture: true, signal });
    this.watchRatio();
    this.send({ type: "hello" });
  }

  send(content) {
    this.model.send({ generation: this.scene.generation, ...content, page: this.page });
  }

  // -- from the kernel ---------------------------------------------------------------------------------------------

  receive(message, buffers) {
    if (message.page !== undefined && message.page !== this.page) return; // another page asked for it
    if (message.origin === this.page) return; // we know, we said so
    const decoded = Promise.all((message.slices ?? []).map(async ({ name, index, image, masks, at }) => ({
      name, index,
      values: image === null ? null : await unpackSlice(image, buffers[at]),
      masks: await unpackMasks(masks, buffers[at + 1]),
    })));
    this.queue = this.queue.then(async () => this.take(message, await decoded)).catch((error) => console.error(error));
  }

  take(message, slices) {
    const { scene } = this;
    if (message.type === "scene") this.open(message);
    else if (message.generation !== scene.generation) return; // of the volume before
    const { cross, window: wide, looks, objects, marks, cubes, left, arrange, heard, armed, settled } = message;
    for (const what of ["tools", "lines", "measures"]) if (message[what] !== undefined) scene[what] = message[what];
    if (armed !== undefined) this.row.take(armed);
    if (left !== undefined) {
      scene.left = left;
      delete this.changes.left;
    }
    if (objects !== undefined) {
      scene.objects = objects;
      this.store.setObjects(objects);
    }
    for (const { name, index, values, masks } of slices) this.store.put(name, index, values, masks);
    if (cross !== undefined) {
      scene.cross = cross;
      delete this.changes.cross;
    }
    if (wide !== undefined) {
      scene.window = wide;
      delete this.changes.window;
    }
    if (arrange !== undefined) this.arrange(arrange);
    for (const [name, look] of Object.entries(looks ?? {})) {
      const picture = this.pictures[name];
      if (look === null) picture.fit();
      else picture.look({ centre: look.slice(0, 2), scale: look[2] });
      delete this.changes.looks?.[name];
    }
    if (cubes !== undefined) scene.cubes = cubes;
    if (marks !== undefined) this.marks = marks;
    if (heard !== undefined) {
      if (heard.kind === "press") this.ahead = this.ahead.filter(({ n }) => n > heard.n);
      else if (heard.kind !== "stroke") this.talk.heard(heard.kind);
    }
    if (settled !== undefined) scene.tool.settled(settled[this.page] ?? 0);
    scene.marks = [...this.marks, ...this.ahead.map(({ mark }) => mark)];
    if (message.type !== "slice") {
      this.redraw(wide !== undefined);
      if (cross !== undefined || objects !== undefined) this.store.want(scene.cross, this.travel);
      return;
    }
    this.store.pump();
    const ahead = slices.every(({ name, index }) => {
      const picture = this.pictures[name];
      return index !== this.wanted(picture) && index !== picture.shown && picture !== this.scrolled;
    });
    if (!ahead) this.redraw(false); // `bring` sees what has changed
  }

  // Another volume, all views in one frame; or none.
  open(message) {
    const { scene } = this;
    scene.generation = message.generation;
    scene.volume = message.volume;
    this.store.reset(message.generation, message.planes);
    for (const name of PLANES) this.pictures[name].open(message.planes?.[name] ?? null, message.volume);
    scene.shades = message.shades;
    this.keys = message.keys;
    this.presets = message.presets;
    this.marks = [];
    this.ahead = [];
    scene.tool.forget();
    this.changes = {};
    this.hovered = "";
    this.travel = [this.active.name, this.pictures[this.active.name].plane?.up ?? 1];
  }

  arrange({ large, rooms, slider, gap }) {
    this.arrangement = { large, rooms, slider, gap };
    const others = PLANES.filter((name) => name !== large);
    Object.assign(this.root.style, {
      gridTemplateAreas: `"${large} ${others[0]}" "${large} ${others[1]}"`,
      gridTemplateColumns: `${rooms[large][0]}px ${rooms[others[0]][0]}px`,
      gridTemplateRows: `${rooms[others[0]][1]}px ${rooms[others[1]][1]}px`,
      gap: `${gap}px`,
    });
    for (const name of PLANES) this.pictures[name].resize(rooms[name], slider, window.devicePixelRatio);
  }

  // -- drawing -----------------------------------------------------------------------------------------------------

  wanted(picture) {
    return picture.plane === null ? null : this.scene.cross[picture.plane.axes[2]];
  }

  redraw(image = true) {
    for (const picture of Object.values(this.pictures)) {
      picture.stale ||= image;
      picture.staleLines = true;
    }
    this.soon();
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    let busy = false;
    for (const picture of Object.values(this.pictures)) busy = this.bring(picture) || busy;
    for (const picture of Object.values(this.pictures)) picture.draw(this.scene);
    this.frames += 1;
    this.root.frames = this.frames;
    this.root.toggleAttribute("data-busy", busy);
    this.root.dataset.generation = this.scene.generation;
    if (this.scene.mouse !== null) this.talk.changed("hover"); // another voxel may be under it
  }

  // Bring the wanted slice into a view. Until it is here the one before stays, or while one scrolls, the nearest that
  // is here: what a view shows, its title, its masks and the clicks on it are always of one slice. Returns whether
  // something is still to come.
  bring(picture) {
    const wanted = this.wanted(picture);
    if (wanted === null) return false;
    let index = wanted;
    const way = this.scrolled === picture ? Math.sign((picture.shown ?? wanted) - wanted) : 0;
    while (index !== picture.shown && !this.store.has(picture.name, index)) {
      if (way === 0) {
        index = picture.shown;
        if (index === null) return true;
      } else index += way;
    }
    const entry = this.store.get(picture.name, index) ?? picture.entry;
    const [masks, fresh] = this.store.masks(picture.name, index, entry);
    const same = masks.length === picture.masks?.length && masks.every(([, mask], n) => mask === picture.masks[n][1]);
    if (index !== picture.shown || entry !== picture.entry || !same) picture.stale = true;
    Object.assign(picture, { shown: index, entry, masks });
    picture.root.dataset.slice = index;
    if (document.activeElement !== picture.slider) picture.slider.value = wanted;
    return index !== wanted || !fresh;
  }

  watchRatio() {
    const ratio = window.devicePixelRatio;
    const query = matchMedia(`(resolution: ${ratio}dppx)`);
    query.addEventListener("change", () => {
      if (this.arrangement !== null) this.arrange(this.arrangement);
      this.redraw();
      this.watchRatio();
    }, { once: true, signal: this.abort.signal });
  }

  // -- to the kernel -----------------------------------------------------------------------------------------------

  state() {
    const { changes } = this;
    this.changes = {};
    return Object.keys(changes).length === 0 ? null : { type: "state", ...changes, active: this.active.name };
  }

  told(what) {
    Object.assign(this.changes, what);
    this.talk.changed("state");
  }

  at(picture, place, shown, matrix) {
    const [x, y] = place.map((pixels) => pixels * picture.ratio);
    return { plane: picture.name, canvas: [x, y, shown], matrix };
  }

  hover() {
    if (this.scene.mouse === null || this.scene.volume === null) {
      if (this.hovered === "") return null;
      this.hovered = "";
      return { type: "leave" };
    }
    const [picture, place, modifiers] = this.scene.mouse;
    if (picture.shown === null) return null;
    const voxel = `${picture.name} ${toVoxel(picture.plane, ...picture.at(...place), picture.shown)}`;
    if (voxel === this.hovered) return null;
    this.hovered = voxel;
    return { type: "hover", ...this.at(picture, place, picture.shown, picture.matrix()), modifiers };
  }

  retrace(picture) {
    picture.staleLines = true;
    this.soon();
  }

  // -- what the user does ------------------------------------------------------------------------------------------

  hands() {
    return {
      tool: () => this.scene.tool,
      window: () => this.scene.window,
      enter: (picture) => {
        this.active = picture;
      },
      early: () => {
        this.send({ type: "early" });
        if (this.scene.tool.draws) this.row.count(); // where there is no image at all, `page.js` says so
      },
      late: (type) => this.send({ type, generation: -1 }), // begun on the case before, which the kernel says
      leave: () => {
        if (this.scene.tool.brush && this.scene.mouse !== null) this.retrace(this.scene.mouse[0]);
        this.scene.mouse = null;
        this.talk.changed("hover");
      },
      hover: (picture, place, modifiers) => {
        this.scene.mouse = [picture, place, modifiers];
        if (this.scene.tool.brush) this.retrace(picture);
        this.talk.changed("hover");
      },
      size: (factor) => this.row.size(factor),
      look: (picture, place) => {
        const voxel = toVoxel(picture.plane, ...picture.at(...place), picture.shown);
        if (inside(voxel, this.scene.volume)) this.move(voxel);
      },
      scroll: (picture, slices) => this.scroll(picture, slices),
      zoom: (picture, factor, place) => this.zoom(picture, factor, picture.at(...place)),
      pan: (picture, right, down) => this.look(picture, moved(picture.plane, picture.region, right, down)),
      drag: ([level, width], right, up) =>
        this.setWindow([level + up * width, Math.max(width * 2 ** (2 * right), 1e-6)]),
    };
  }

  move(voxel, scrolled = null) {
    const { scene } = this;
    this.scrolled = scrolled;
    const cross = voxel.map((index, axis) => Math.min(Math.max(index, 0), scene.volume[axis] - 1));
    if (String(cross) === String(scene.cross)) return;
    scene.cross = cross;
    this.told({ cross });
    this.redraw(false);
    this.store.want(cross, this.travel);
  }

  scroll(picture, slices) {
    const axis = picture.plane.axes[2];
    const by = slices * picture.plane.up;
    const cross = [...this.scene.cross];
    cross[axis] += by;
    this.travel = [picture.name, Math.sign(by)];
    this.talk.scrolled = performance.now();
    this.move(cross, picture);
  }

  slide(picture) {
    if (picture.plane === null) return;
    const cross = [...this.scene.cross];
    const axis = picture.plane.axes[2];
    const to = Number(picture.slider.value);
    this.travel = [picture.name, Math.sign(to - cross[axis]) || 1];
    cross[axis] = to;
    this.active = picture;
    this.move(cross, picture);
  }

  fit() {
    for (const picture of Object.values(this.pictures)) this.look(picture, whole(picture.plane, picture.size), true);
  }

  zoom(picture, factor, at) {
    this.look(picture, zoomed(picture.region, factor, at));
  }

  look(picture, region, full = false) {
    picture.look(region, full);
    const look = full ? null : [...region.centre, region.scale];
    this.told({ looks: { ...this.changes.looks, [picture.name]: look } });
    this.soon();
  }

  setWindow(wide) {
    this.scene.window = wide;
    this.told({ window: wide });
    this.redraw();
  }

  set(flag, value) {
    this.model.set(flag, value);
    this.model.save_changes();
  }

  close() {
    this.abort.abort();
    this.talk.stop();
    cancelAnimationFrame(this.frame);
    this.model.off("msg:custom", this.onMessage);
    for (const flag of FLAGS) this.model.off(`change:${flag}`, this.onFlag);
    this.store.reset(-1, null);
    this.root.remove();
  }
}

// As soon as the page knows the widget, shown or not.
function initialize({ model }) {
  const why = unable();
  const webgl = document.createElement("canvas").getContext("webgl2") !== null;
  model.send(why === "" ? { type: "able", webgl } : { type: "unable", why });
}

function render({ model, el }) {
  if (unable() !== "") return () => {};
  const views = new Views(model, el);
  return () => views.close();
}

export default { initialize, render };
