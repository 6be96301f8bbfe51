// Outlines of a mask as lines half-way between voxel centres, as `compose.outlines` draws them for the kernel.

// For each corner pattern of a cell (1 upper left, 2 upper right, 4 lower right, 8 lower left): directed segments
// between the cell's edges 0 top, 1 right, 2 bottom, 3 left, the mask on the right hand. Diagonal corners stay apart.
const SEGMENTS = [
  [], [[0, 3]], [[1, 0]], [[1, 3]], [[2, 1]], [[0, 3], [2, 1]], [[2, 0]], [[2, 3]],
  [[3, 2]], [[0, 2]], [[1, 0], [3, 2]], [[1, 2]], [[3, 1]], [[0, 1]], [[3, 0]], [],
];
const EDGES = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]];

// Closed lines of (column, row) pairs, flat; `box` is [top, left, rows, columns].
export function outlines(bits, box) {
  const [top, left, rows, columns] = box;
  const wide = 2 * (columns + 2) + 1; // keys of edge middles, counted in half cells
  const next = new Map();
  for (let row = -1; row < rows; row++) {
    let corner = 0, under = 0; // the cell's left corners, which were the last cell's right ones
    for (let column = -1; column < columns; column++) {
      const ahead = column + 1 < columns;
      const right = ahead && row >= 0 ? bits[row * columns + column + 1] : 0;
      const rightUnder = ahead && row + 1 < rows ? bits[(row + 1) * columns + column + 1] : 0;
      const pattern = corner | (right << 1) | (rightUnder << 2) | (under << 3);
      for (const [from, to] of SEGMENTS[pattern]) {
        const key = (edge) =>
          (2 * (row + 1) + 2 * EDGES[edge][1]) * wide + 2 * (column + 1) + 2 * EDGES[edge][0];
        next.set(key(from), key(to));
      }
      corner = right;
      under = rightUnder;
    }
  }
  const lines = [];
  while (next.size > 0) {
    const line = [];
    let at = next.keys().next().value;
    while (next.has(at)) {
      const to = next.get(at);
      next.delete(at);
      line.push((at % wide) / 2 - 1 + left, Math.floor(at / wide) / 2 - 1 + top);
      at = to;
    }
    lines.push(line);
  }
  return lines;
}

// A mask's outlines as a path in columns and rows.
export function outlinePath(bits, box) {
  const path = new Path2D();
  for (const line of outlines(bits, box)) {
    path.moveTo(line[0], line[1]);
    for (let at = 2; at < line.length; at += 2) {
      // straight runs are one piece
      const [x, y] = [line[at], line[at + 1]];
      const ends = at + 2 < line.length &&
        (x - line[at - 2]) * (line[at + 3] - y) === (y - line[at - 1]) * (line[at + 2] - x);
      if (!ends) path.lineTo(x, y);
    }
    path.closePath();
  }
  return path;
}
