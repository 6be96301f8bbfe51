// Where things are: regions of a slice in a view, and voxels in a slice. Lengths are CSS pixels, positions in a slice
// are columns and rows whose centres are whole numbers. A plane is what the kernel says of one (`planes.Plane`); a
// region is { centre: [column, row], scale: CSS pixels per mm }.

const FILLED = 0.98;

export function whole(plane, size) {
  const [rows, columns] = plane.shape;
  const scale = Math.min(size[0] / (columns * plane.spacing[1]), size[1] / (rows * plane.spacing[0]));
  return { centre: [(columns - 1) / 2, (rows - 1) / 2], scale: FILLED * scale };
}

// CSS pixels from column to column and from row to row.
export function steps(plane, region) {
  return [region.scale * plane.spacing[1], region.scale * plane.spacing[0]];
}

export function toPlane(plane, region, size, x, y) {
  const [across, down] = steps(plane, region);
  return [region.centre[0] + (x - size[0] / 2) / across, region.centre[1] + (y - size[1] / 2) / down];
}

export function toView(plane, region, size, column, row) {
  const [across, down] = steps(plane, region);
  return [size[0] / 2 + (column - region.centre[0]) * across, size[1] / 2 + (row - region.centre[1]) * down];
}

// Device pixels → columns and rows, as [[a, 0, c], [0, e, f]]: the step `canvas → plane` of the chain.
export function matrix(plane, region, size, ratio) {
  const [across, down] = steps(plane, region);
  const [column, row] = toPlane(plane, region, size, 0, 0);
  return [[1 / (across * ratio), 0, column], [0, 1 / (down * ratio), row]];
}

export function zoomed(region, factor, at) {
  const scale = Math.min(Math.max(region.scale * factor, 0.05), 200);
  const kept = region.scale / scale;
  return { centre: region.centre.map((old, axis) => at[axis] + (old - at[axis]) * kept), scale };
}

export function moved(plane, region, right, down) {
  const [across, high] = steps(plane, region);
  return { centre: [region.centre[0] - right / across, region.centre[1] - down / high], scale: region.scale };
}

// Column, row and slice number of a voxel position (i, j, k).
export function fromVoxel(plane, voxel) {
  const [column, row, normal] = plane.axes;
  return [
    plane.flips[0] ? plane.shape[1] - 1 - voxel[column] : voxel[column],
    plane.flips[1] ? plane.shape[0] - 1 - voxel[row] : voxel[row],
    voxel[normal],
  ];
}

// The voxel whose area holds a point of slice `index`; it may lie outside the volume. As the kernel rounds: in voxels.
export function toVoxel(plane, column, row, index) {
  const voxel = [0, 0, 0];
  voxel[plane.axes[0]] = Math.floor((plane.flips[0] ? plane.shape[1] - 1 - column : column) + 0.5);
  voxel[plane.axes[1]] = Math.floor((plane.flips[1] ? plane.shape[0] - 1 - row : row) + 0.5);
  voxel[plane.axes[2]] = index;
  return voxel;
}

export function inside(voxel, volume) {
  return voxel.every((index, axis) => index >= 0 && index < volume[axis]);
}

// Where to look for what was drawn: half-way along an open line, else in the middle of what it spans; null where all of
// it lies outside the slice, on one side.
export function middle(plane, points, open) {
  const [rows, columns] = plane.shape;
  const cut = points.map((at) => [columns, rows].map((size, axis) => Math.min(Math.max(at[axis], 0), size - 1)));
  const outside = [columns, rows].some((size, axis) =>
    points.every((at) => at[axis] < -0.5) || points.every((at) => at[axis] >= size - 0.5));
  if (outside) return null;
  if (!open) {
    return [0, 1].map((axis) => cut.map((at) => at[axis]))
      .map((all) => (all.reduce((a, b) => Math.min(a, b)) + all.reduce((a, b) => Math.max(a, b))) / 2);
  }
  const lengths = cut.slice(1).map((at, n) => Math.hypot(at[0] - cut[n][0], at[1] - cut[n][1]));
  let left = lengths.reduce((sum, length) => sum + length, 0) / 2;
  for (const [n, length] of lengths.entries()) {
    if (length > 0 && left <= length) return [0, 1].map((axis) => cut[n][axis] + (left / length) * (cut[n + 1][axis] - cut[n][axis]));
    left -= length;
  }
  return cut[0];
}

// A round length in mm that a quarter of a view's width holds.
export function barLength(scale, width) {
  return [1, 2, 5, 10, 20, 50, 100].filter((mm) => mm * scale < 0.25 * width).pop() ?? 1;
}
