// Lines on a view: strokes that are being drawn, and marks of what was drawn before. Each has a dark edge, so that it is
// seen on any mask; what is positive has long dashes and what is negative short ones.

import { fromVoxel, toView } from "./geometry.js";

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";
const MEASURE = "#7fd4ff";

function dash(positive) {
  return positive ? [8, 4] : [2, 4];
}

// The edge has no gaps where the line has.
function line(context, draw, colour, edge, width) {
  const gaps = context.getLineDash();
  for (const [wide, shade, dashes] of [[width + 2.4, edge, []], [width, colour, gaps]]) {
    context.lineWidth = wide;
    context.strokeStyle = shade;
    context.setLineDash(dashes);
    context.beginPath();
    draw();
    context.stroke();
  }
}

function through(context, points, closed = false) {
  points.forEach(([x, y], n) => (n === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  if (closed) context.closePath();
}

// A line as wide as a brush, once: where it crosses itself it is no denser.
function wide(context, points, width, colour) {
  context.globalAlpha = 0.45;
  context.fillStyle = context.strokeStyle = colour;
  context.lineWidth = Math.max(width, 1);
  context.beginPath();
  if (points.length === 1) {
    context.arc(...points[0], Math.max(width, 1) / 2, 0, 2 * Math.PI);
    context.fill();
  } else {
    through(context, points);
    context.stroke();
  }
  context.globalAlpha = 1;
}

function write(context, text, [x, y], edge) {
  context.font = `12px ${FONT}`;
  context.textAlign = "left";
  context.textBaseline = "bottom";
  context.lineWidth = 3;
  context.strokeStyle = edge;
  context.strokeText(text, x + 8, y - 6);
  context.fillStyle = MEASURE;
  context.fillText(text, x + 8, y - 6);
}

function rule(context, [from, to], edge) {
  const length = Math.max(Math.hypot(to[0] - from[0], to[1] - from[1]), 1e-6);
  const [across, down] = [(-5 * (to[1] - from[1])) / length, (5 * (to[0] - from[0])) / length];
  line(context, () => {
    through(context, [from, to]);
    for (const [x, y] of [from, to]) through(context, [[x - across, y - down], [x + across, y + down]]);
  }, MEASURE, edge, 1.6);
}

// What is being drawn: `points` are columns and rows.
export function drawStroke(context, picture, { shape, points, positive, mm, says }, [negative, affirmative, edge]) {
  const { plane, region, size } = picture;
  const places = points.map(([column, row]) => toView(plane, region, size, column, row));
  const colour = says === "yes" ? MEASURE : positive ? affirmative : negative;
  context.setLineDash([]);
  if (shape === "brush") {
    wide(context, places, mm * region.scale, colour);
  } else if (shape === "ruler") {
    if (places.length < 2) return;
    rule(context, places, edge);
    const apart = [0, 1].map((axis) => (points[1][axis] - points[0][axis]) * plane.spacing[1 - axis]);
    write(context, `${Math.hypot(...apart).toFixed(1)} mm`, places[1], edge);
  } else if (shape === "box") {
    const [[x0, y0], [x1, y1]] = [places[0], places[places.length - 1]];
    context.setLineDash(dash(positive));
    line(context, () => context.rect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)), colour, edge, 1.8);
  } else {
    if (places.length === 1) places.push([places[0][0] + 0.1, places[0][1]]);
    line(context, () => through(context, places), colour, edge, 2);
    if (shape === "loop") {
      context.setLineDash([3, 4]);
      line(context, () => through(context, [places[places.length - 1], places[0]]), colour, edge, 1);
    }
  }
  context.setLineDash([]);
}

// A brush under the mouse, at its true size.
export function drawCircle(context, [x, y], radius, [, , edge]) {
  context.setLineDash([]);
  line(context, () => context.arc(x, y, Math.max(radius, 0.5), 0, 2 * Math.PI), "#fff", edge, 1);
}

// What was said or measured (`stroke.Mark`), where the slice that is shown goes through it.
export function drawMark(context, picture, { kind, places, positive, chosen, text, mm }, [negative, affirmative, edge]) {
  const { plane, region, size, shown } = picture;
  const colour = positive ? affirmative : negative;
  const width = chosen ? 3.4 : 1.8;
  const found = places.map((voxel) => fromVoxel(plane, voxel));
  const view = ([column, row]) => toView(plane, region, size, column, row);
  const here = ([, , index]) => Math.round(index) === shown;
  context.setLineDash([]);
  if (kind === "box") {
    const [low, high] = [0, 1, 2].map((n) => found.map((at) => at[n])).reduce(
      ([least, most], values) => [[...least, Math.min(...values)], [...most, Math.max(...values)]], [[], []],
    );
    if (shown < low[2] || shown > high[2]) return;
    const [x0, y0] = view([low[0] - 0.5, low[1] - 0.5]);
    const [x1, y1] = view([high[0] + 0.5, high[1] + 0.5]);
    context.setLineDash(dash(positive));
    line(context, () => context.rect(x0, y0, x1 - x0, y1 - y0), colour, edge, width);
  } else if (kind === "point") {
    if (here(found[0])) line(context, () => context.arc(...view(found[0]), 10, 0, 2 * Math.PI), colour, edge, 2);
  } else if (kind === "ruler") {
    if (!found.every(here)) return;
    const ends = found.map(view);
    rule(context, ends, edge);
    write(context, text, ends[1], edge);
  } else if (kind === "statistics") {
    if (!found.every(here)) return;
    const way = found.map(view);
    wide(context, way, mm * region.scale, MEASURE);
    write(context, text, way[way.length - 1], edge);
  } else {
    drawThrough(context, found, shown, view, { closed: kind === "lasso", positive, colour, edge, width });
  }
  context.setLineDash([]);
}

// The pieces of a line that lie on the slice; where it only crosses the slice, dots.
function drawThrough(context, found, shown, view, { closed, positive, colour, edge, width }) {
  const ring = closed || found.length === 1 ? [...found, found[0]] : found;
  const pieces = [];
  const dots = [];
  let open = false;
  for (let n = 1; n < ring.length; n++) {
    const [from, to] = [ring[n - 1], ring[n]];
    const [before, after] = [from[2] - shown, to[2] - shown];
    if (before === 0 && after === 0) {
      if (!open) pieces.push([view(from)]);
      pieces[pieces.length - 1].push(view(to));
    } else if (before * after <= 0) {
      const share = before / (before - after);
      dots.push(view([0, 1].map((axis) => from[axis] + share * (to[axis] - from[axis]))));
    }
    open = before === 0 && after === 0;
  }
  context.setLineDash(closed ? dash(positive) : positive ? [] : dash(false));
  line(context, () => pieces.forEach((piece) => through(context, piece)), colour, edge, width);
  context.setLineDash([]);
  line(context, () => dots.forEach(([x, y]) => through(context, [[x - 0.5, y], [x + 0.5, y]])), colour, edge, width + 0.6);
}
