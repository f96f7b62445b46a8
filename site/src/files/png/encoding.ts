// Encoding of PNGs of 8-bit RGB, with alpha or without, some rows after the other.

import { Zlib } from "fflate";

import type { Photo } from "../../types.ts";
import { type Bytes, fromBinary, pack32 } from "../bytes.ts";
import { SIGNATURE, makeChunk } from "./chunks.ts";

const LEVEL = 3; // a quarter of the default's time for a few per cent of size
const STRIP = 1 << 20; // bytes before compression

/** Return the parts of a PNG with chunks of metadata. */
export function encode(
  { width, height, pixels }: Pick<Photo, "width" | "height" | "pixels">,
  hasAlpha: boolean,
  metadata: readonly Bytes[] = [],
): Bytes[] {
  const channels = hasAlpha ? 4 : 3;
  const stride = 1 + width * channels;
  const size = Uint8Array.of(8, hasAlpha ? 6 : 2, 0, 0, 0);
  const header = makeChunk("IHDR", pack32(width), pack32(height), size);
  const parts = [fromBinary(SIGNATURE), header, ...metadata];
  const stream = new Zlib({ level: LEVEL }, (data) => {
    if (data.length) parts.push(makeChunk("IDAT", data));
  });
  const step = Math.max(1, Math.floor(STRIP / stride));
  const candidates = [1, 2, 4].map(() => new Uint8Array(stride));
  let above = new Uint8Array(width * channels);
  let line = new Uint8Array(width * channels);
  for (let top = 0; top < height; top += step) {
    const rows = Math.min(step, height - top);
    const strip = new Uint8Array(rows * stride);
    for (let row = 0; row < rows; row += 1) {
      copyRow(pixels, (top + row) * width * 4, line, channels);
      strip.set(filter(line, above, channels, candidates), row * stride);
      [above, line] = [line, above];
    }
    stream.push(strip, top + rows === height);
  }
  return [...parts, makeChunk("IEND")];
}

function copyRow(
  pixels: Uint8ClampedArray,
  start: number,
  line: Uint8Array,
  channels: number,
): void {
  if (channels === 4) {
    line.set(pixels.subarray(start, start + line.length));
    return;
  }
  for (let from = start, to = 0; to < line.length; from += 4, to += 3) {
    line[to] = pixels[from];
    line[to + 1] = pixels[from + 1];
    line[to + 2] = pixels[from + 2];
  }
}

/** Return a row by the filter Sub, Up or Paeth, whichever has the smallest sum of values. */
function filter(
  line: Uint8Array,
  above: Uint8Array,
  step: number,
  [sub, up, paeth]: readonly Uint8Array[],
): Uint8Array {
  [sub[0], up[0], paeth[0]] = [1, 2, 4];
  let [subSum, upSum, paethSum] = [0, 0, 0];
  for (let at = 0; at < line.length; at += 1) {
    const value = line[at];
    const a = at < step ? 0 : line[at - step];
    const b = above[at];
    const c = at < step ? 0 : above[at - step];
    const pa = b < c ? c - b : b - c;
    const pb = a < c ? c - a : a - c;
    const sum = a + b - 2 * c;
    const pc = sum < 0 ? -sum : sum;
    const nearest = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
    sub[at + 1] = value - a;
    up[at + 1] = value - b;
    paeth[at + 1] = value - nearest;
    subSum += magnitude(sub[at + 1]);
    upSum += magnitude(up[at + 1]);
    paethSum += magnitude(paeth[at + 1]);
  }
  if (paethSum <= subSum && paethSum <= upSum) return paeth;
  return subSum <= upSum ? sub : up;
}

const magnitude = (value: number): number => (value < 128 ? value : 256 - value);
