// Whether this browser can draw the slices.

// Why it cannot; "" where it can.
export function unable() {
  if (typeof DecompressionStream === "undefined") return "this browser cannot decompress by itself";
  if (typeof ResizeObserver === "undefined" || typeof PointerEvent === "undefined") return "this browser is too old";
  if (!document.createElement("canvas").getContext("2d")) return "this browser has no canvas";
  return "";
}
