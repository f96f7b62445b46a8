// Encoding of PNGs of 8-bit RGB, with alpha or without, some rows after the other.

import { Zlib } from "fflate";

import type { Image } from "../../types.ts";
import { type Bytes, fromBinary, pack32 } from "../bytes.ts";
import { SIGNATURE, makeChunk } from "./chunks.ts";
import { paeth } from "./decoding.ts";

const LEVEL = 3; // a quarter of the default's time for a few per cent of size
const STRIP = 1 << 20; // bytes before compression

/** Return the parts of a PNG with chunks of metadata. */
export function encode(
  { width, height, pixels }: Image,
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
  candidates: readonly Uint8Array[],
): Uint8Array {
  const [sub, up, byPaeth] = candidates;
  sub[0] = 1;
  up[0] = 2;
  byPaeth[0] = 4;
  let subSum = 0;
  let upSum = 0;
  let paethSum = 0;
  for (let at = 0; at < line.length; at += 1) {
    const value = line[at];
    const b = above[at];
    const a = at < step ? 0 : line[at - step];
    const c = at < step ? 0 : above[at - step];
    const byLeft = (value - a) & 255;
    const byAbove = (value - b) & 255;
    const byNearest = (value - paeth(a, b, c)) & 255;
    sub[at + 1] = byLeft;
    up[at + 1] = byAbove;
    byPaeth[at + 1] = byNearest;
    subSum += byLeft < 128 ? byLeft : 256 - byLeft;
    upSum += byAbove < 128 ? byAbove : 256 - byAbove;
    paethSum += byNearest < 128 ? byNearest : 256 - byNearest;
  }
  if (paethSum <= subSum && paethSum <= upSum) return byPaeth;
  return subSum <= upSum ? sub : up;
}
