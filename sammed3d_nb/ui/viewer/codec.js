// The other end of `packing.py`: bytes from the kernel become the slice's own values, and masks.

const ARRAYS = {
  int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array,
  float32: Float32Array, float64: Float64Array,
};

export async function inflate(view) {
  if (view.byteLength === 0) return new Uint8Array(0);
  const stream = new Blob([view]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// What was missed (zigzag, `width` byte planes of `total` bytes) and the prediction from left, up and up-left.
function restore(bytes, start, total, rows, columns, width, out) {
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      let coded = bytes[start + at];
      for (let place = 1; place < width; place++) coded |= bytes[start + at + place * total] << (8 * place);
      const missed = (coded >>> 1) ^ -(coded & 1);
      let predicted = 0;
      if (row === 0) {
        if (column > 0) predicted = out[at - 1];
      } else if (column === 0) {
        predicted = out[at - columns];
      } else {
        const left = out[at - 1], up = out[at - columns], sum = left + up - out[at - columns - 1];
        const low = left < up ? left : up, high = left < up ? up : left;
        predicted = sum < low ? low : sum > high ? high : sum;
      }
      out[at] = predicted + missed; // an integer array wraps as the kernel's arithmetic does
    }
  }
  return out;
}

// The values of a slice, row by row, in the smallest typed array that holds them.
export async function unpackSlice(head, view) {
  const { rows, columns, width, type } = head;
  const bytes = await inflate(view);
  const count = rows * columns;
  if (type !== "float32" && type !== "float64") {
    return restore(bytes, 0, count, rows, columns, width, new ARRAYS[type](count));
  }
  const words = type === "float32" ? 1 : 2;
  const parts = Array.from({ length: words }, (_, n) =>
    restore(bytes, n * count, words * count, rows, columns, width, new Int32Array(count)));
  if (words === 1) {
    for (let at = 0; at < count; at++) if (parts[0][at] < 0) parts[0][at] ^= 0x7fffffff;
    return new Float32Array(parts[0].buffer);
  }
  const pairs = new Int32Array(2 * count);
  for (let at = 0; at < count; at++) {
    pairs[2 * at] = parts[1][at]; // every browser's platform has the low word first
    pairs[2 * at + 1] = parts[0][at];
  }
  return new Float64Array(pairs.buffer);
}

// Masks of a slice: for each head { id, version, box } also `bits`, one byte a voxel of its box; null where empty.
export async function unpackMasks(heads, view) {
  const bytes = await inflate(view);
  let start = 0;
  return heads.map(({ id, version, box }) => {
    if (box === null) return { id, version, box, bits: null };
    const count = box[2] * box[3];
    const bits = new Uint8Array(count);
    for (let at = 0; at < count; at++) bits[at] = (bytes[start + (at >> 3)] >> (7 - (at & 7))) & 1;
    start += (count + 7) >> 3;
    return { id, version, box, bits };
  });
}
