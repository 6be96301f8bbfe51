// One view: its canvases and how it is drawn. The lower canvas holds the slice with its fills, the upper one, see-
// through, all lines, marks and texts, so that these are sharp at any zoom and a stroke under a pen costs no redrawing
// of the slice.

import { barLength, fromVoxel, matrix, steps, toPlane, toView, whole } from "./geometry.js";
import { drawMark } from "./marks.js";
import { outlinePath } from "./outlines.js";

const GREY = "#0b0d10", LETTER = "#aab4c2", CROSS = "#ffd24a", CUBE = "#5aa9ff";
const HALO = "rgba(11, 13, 16, 0.8)";
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";

export class Picture {
  constructor(name) {
    this.name = name;
    this.root = document.createElement("div");
    this.root.className = `snb-view snb-${name}`;
    this.frame = document.createElement("div");
    this.frame.className = "snb-canvases";
    this.image = document.createElement("canvas");
    this.overlay = document.createElement("canvas");
    this.frame.append(this.image, this.overlay);
    this.slider = document.createElement("input");
    Object.assign(this.slider, { type: "range", min: 0, max: 0, step: 1, value: 0, disabled: true });
    this.slider.setAttribute("aria-label", `${name} slice`);
    this.root.append(this.frame, this.slider);
    this.lower = this.image.getContext("2d", { alpha: false });
    this.upper = this.overlay.getContext("2d");
    this.source = document.createElement("canvas"); // the slice with its fills, a pixel a voxel
    this.size = [400, 400]; // CSS pixels of the canvases
    this.room = [400, 422]; // of the view, with its slider
    this.ratio = 1;
    this.open(null, null);
  }

  // Another volume; `plane` null for none.
  open(plane, volume) {
    this.plane = plane;
    this.volume = volume;
    this.shown = null; // the slice on the screen
    this.entry = null;
    this.composed = null; // what `source` holds
    this.full = true;
    this.region = plane === null ? null : whole(plane, this.size);
    this.slider.disabled = plane === null;
    this.slider.max = plane === null ? 0 : plane.slices - 1;
    if (plane !== null) {
      this.source.width = plane.shape[1];
      this.source.height = plane.shape[0];
    }
    delete this.root.dataset.slice;
    this.stale = this.staleLines = true;
  }

  resize(room, slider, ratio) {
    const size = [room[0], Math.max(80, room[1] - slider)].map((side) => Math.floor(side * ratio) / ratio);
    this.root.style.width = `${room[0]}px`;
    this.root.style.height = `${room[1]}px`;
    for (const canvas of [this.image, this.overlay]) {
      const pixels = size.map((side) => Math.round(side * ratio));
      if (canvas.width !== pixels[0]) canvas.width = pixels[0];
      if (canvas.height !== pixels[1]) canvas.height = pixels[1];
      canvas.style.width = `${size[0]}px`;
      canvas.style.height = `${size[1]}px`;
    }
    this.frame.style.height = `${size[1]}px`;
    if (!this.full && this.region !== null) {
      const grown = Math.min(size[0] / this.size[0], size[1] / this.size[1]);
      this.region = { ...this.region, scale: this.region.scale * grown };
    }
    this.size = size;
    this.ratio = ratio;
    if (this.full) this.fit();
    this.stale = this.staleLines = true;
  }

  fit() {
    this.full = true;
    if (this.plane !== null) this.look(whole(this.plane, this.size), true);
  }

  look(region, full = false) {
    this.region = region;
    this.full = full;
    this.stale = this.staleLines = true;
  }

  // Columns and rows at a position in CSS pixels from the canvases' upper left corner.
  at(x, y) {
    return toPlane(this.plane, this.region, this.size, x, y);
  }

  matrix() {
    return matrix(this.plane, this.region, this.size, this.ratio);
  }

  // Draw what has changed since the last frame. `scene` is what all views share.
  draw(scene) {
    if (this.stale) this.drawImage(scene);
    if (this.stale || this.staleLines) this.drawLines(scene);
    this.stale = this.staleLines = false;
  }

  drawImage(scene) {
    const { lower, ratio, size } = this;
    lower.setTransform(1, 0, 0, 1, 0, 0);
    lower.fillStyle = GREY;
    lower.fillRect(0, 0, this.image.width, this.image.height);
    if (this.shown === null) return;
    this.compose(scene);
    const [across, down] = steps(this.plane, this.region);
    const [x, y] = toView(this.plane, this.region, size, -0.5, -0.5);
    lower.setTransform(across * ratio, 0, 0, down * ratio, x * ratio, y * ratio);
    lower.imageSmoothingEnabled = scene.display.smooth;
    lower.drawImage(this.source, 0, 0);
  }

  // The slice through the window with its fills, as `compose.compose` does it.
  compose(scene) {
    const { display, window } = scene;
    const masks = display.masks ? this.masks.filter(([object]) => object.fill) : [];
    const key = [window, display.masks, display.opacity, this.entry, ...masks.flatMap(([o, mask]) => [o.colour, mask])];
    if (this.composed !== null && key.length === this.composed.length && key.every((v, n) => v === this.composed[n])) {
      return;
    }
    this.composed = key;
    const { values } = this.entry;
    const [rows, columns] = this.plane.shape;
    const context = this.source.getContext("2d", { alpha: false });
    this.pixels ??= null;
    if (this.pixels?.width !== columns || this.pixels?.height !== rows) {
      this.pixels = context.createImageData(columns, rows);
    }
    const out = new Uint32Array(this.pixels.data.buffer);
    const low = window[0] - window[1] / 2, gain = 255 / window[1];
    for (let at = 0; at < out.length; at++) {
      const grey = (values[at] - low) * gain;
      const level = grey < 0 ? 0 : grey > 255 ? 255 : grey | 0;
      out[at] = 0xff000000 | (level << 16) | (level << 8) | level;
    }
    const opacity = display.opacity;
    if (opacity > 0) for (const [{ colour }, mask] of masks) this.fill(out, values, low, gain, colour, mask, opacity);
    context.putImageData(this.pixels, 0, 0);
  }

  fill(out, values, low, gain, colour, { bits, box: [top, left, rows, columns] }, opacity) {
    const wide = this.plane.shape[1];
    const [red, green, blue] = colour.map((channel) => channel * opacity + 0.5);
    for (let row = 0, at = 0; row < rows; row++) {
      for (let column = 0, to = (top + row) * wide + left; column < columns; column++, at++, to++) {
        if (bits[at] === 0) continue;
        const grey = (values[to] - low) * gain;
        const base = (grey < 0 ? 0 : grey > 255 ? 255 : grey | 0) * (1 - opacity);
        out[to] = 0xff000000 | ((base + blue) << 16) | ((base + green) << 8) | (base + red);
      }
    }
  }

  drawLines(scene) {
    const { upper, ratio } = this;
    upper.setTransform(1, 0, 0, 1, 0, 0);
    upper.clearRect(0, 0, this.overlay.width, this.overlay.height);
    if (this.plane === null) return;
    upper.setTransform(ratio, 0, 0, ratio, 0, 0);
    upper.lineCap = upper.lineJoin = "round";
    const { display } = scene;
    if (this.shown !== null) {
      if (display.masks && display.contours) this.drawOutlines();
      if (display.cube) this.drawCubes(scene.cubes);
      if (display.crosshair) this.drawCross(scene.cross);
      if (display.prompts) {
        for (const line of scene.lines) drawMark(upper, this, line, scene.shades);
        this.drawMarks(scene.marks, scene.shades);
      }
      for (const measure of scene.measures) drawMark(upper, this, measure, scene.shades);
      scene.tool.draw(upper, this, scene.shades, scene.mouse);
    }
    this.drawTexts();
  }

  drawOutlines() {
    const { upper } = this;
    const [across, down] = steps(this.plane, this.region);
    const [x, y] = toView(this.plane, this.region, this.size, 0, 0);
    const place = new DOMMatrix([across, 0, 0, down, x, y]);
    for (const [object, mask] of this.masks) {
      if (!object.outline) continue;
      mask.path ??= outlinePath(mask.bits, mask.box);
      const path = new Path2D();
      path.addPath(mask.path, place); // moved before it is drawn: lines are equally wide at any zoom
      upper.strokeStyle = `rgb(${object.colour.join(", ")})`;
      upper.lineWidth = object.current ? 1.6 : 1;
      upper.stroke(path);
    }
  }

  drawCubes(cubes) {
    const { upper } = this;
    upper.strokeStyle = CUBE;
    upper.lineWidth = 1;
    upper.setLineDash([5, 4]);
    for (const corners of cubes) {
      const [first, second] = corners.map((corner) => fromVoxel(this.plane, corner));
      const [low, high] = [Math.min(first[2], second[2]), Math.max(first[2], second[2])];
      if (this.shown < low || this.shown > high) continue;
      const [x0, y0] = toView(this.plane, this.region, this.size, first[0], first[1]);
      const [x1, y1] = toView(this.plane, this.region, this.size, second[0], second[1]);
      upper.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    }
    upper.setLineDash([]);
  }

  drawCross(cross) {
    const { upper, size } = this;
    const [x, y] = toView(this.plane, this.region, size, ...fromVoxel(this.plane, cross));
    const gap = 9;
    upper.strokeStyle = CROSS;
    upper.globalAlpha = 0.75;
    upper.lineWidth = 0.8;
    upper.beginPath();
    for (const [x0, y0, x1, y1] of [
      [0, y, x - gap, y], [x + gap, y, size[0], y], [x, 0, x, y - gap], [x, y + gap, x, size[1]],
    ]) {
      upper.moveTo(x0, y0);
      upper.lineTo(x1, y1);
    }
    upper.stroke();
    upper.globalAlpha = 1;
  }

  // Clicks of the current object in this slice: [i, j, k, positive].
  drawMarks(marks, [negative, positive, edge]) {
    const { upper } = this;
    for (const [i, j, k, adds] of marks) {
      const [column, row, index] = fromVoxel(this.plane, [i, j, k]);
      if (Math.round(index) !== this.shown) continue;
      const [x, y] = toView(this.plane, this.region, this.size, column, row);
      for (const [width, colour] of [[4.4, edge], [2, adds ? positive : negative]]) {
        upper.strokeStyle = colour;
        upper.lineWidth = width;
        upper.beginPath();
        upper.moveTo(x - 4.5, y);
        upper.lineTo(x + 4.5, y);
        if (adds) {
          upper.moveTo(x, y - 4.5);
          upper.lineTo(x, y + 4.5);
        }
        upper.stroke();
      }
    }
  }

  drawTexts() {
    const { upper, size: [width, height] } = this;
    const write = (text, x, y, align, baseline, pixels) => {
      upper.font = `${pixels}px ${FONT}`;
      upper.textAlign = align;
      upper.textBaseline = baseline;
      upper.lineWidth = 2.4;
      upper.strokeStyle = HALO;
      upper.strokeText(text, x, y);
      upper.fillStyle = LETTER;
      upper.fillText(text, x, y);
    };
    const [left, right, top, bottom] = this.plane.letters;
    write(left, 6, height / 2, "left", "middle", 12);
    write(right, width - 6, height / 2, "right", "middle", 12);
    write(bottom, width / 2, height - 6, "center", "bottom", 12);
    const name = this.name[0].toUpperCase() + this.name.slice(1);
    const title = this.shown === null ? name : `${name}  ${this.shown + 1} / ${this.plane.slices}`;
    write(title, 7, 6, "left", "top", 11);
    write(top, width / 2, 7 + upper.measureText(title).width + 14 < width / 2 ? 6 : 22, "center", "top", 12);
    const mm = barLength(this.region.scale, width);
    const [end, y] = [width - 12, height - 12];
    const start = end - mm * this.region.scale;
    for (const [line, colour] of [[4.4, HALO], [2, LETTER]]) {
      upper.strokeStyle = colour;
      upper.lineWidth = line;
      upper.beginPath();
      upper.moveTo(start, y);
      upper.lineTo(end, y);
      upper.stroke();
    }
    write(mm < 10 ? `${mm} mm` : `${mm / 10} cm`, end, y - 5, "right", "bottom", 10);
  }
}
