// Tell photos that are in colour already from grey and toned ones.
// As photochrom.colorize.detection.

import type { Photo } from "../types.ts";
import { ab, lightness } from "./color.ts";
import { percentile, roundHalfEven } from "./numbers.ts";
import { resizePhotoArea } from "./resize.ts";

const SIDE = 64; // px, short side of the copy that is examined
const OVERSAMPLING = 6;
const MARGIN = 1 / 8; // of each side, not examined: mounts, colour targets, captions
const TONE_LEVELS = 16;
const SHARE = 90; // percentile of the pixels that is compared with the limits
const MAX_DISTANCE = 8; // in a*b*, from the tone of the same lightness
const MAX_HUE_SPREAD = 2; // the same, across the hue in which the distances are largest

/**
 * Tell whether the pixels of a photo are in colour.
 *
 * A toned, stained or faded photo is not: a* and b* follow from L*, or differ along one hue. A
 * photo in colour of one hue, such as grass, is taken for toned.
 */
export function isColored(photo: Photo): boolean {
  if (photo.isGrey) return false;
  const examined = examinedPart(photo);
  const count = examined.width;
  if (count < TONE_LEVELS) return false;
  const { data: L } = lightness(examined);
  const { data } = ab(examined);
  const a = distancesFromTone(L, data.subarray(0, count));
  const b = distancesFromTone(L, data.subarray(count));
  if (percentile(a.map((value, i) => Math.hypot(value, b[i])), SHARE) <= MAX_DISTANCE) return false;
  const [x, y] = axisOfLeastVariance(a, b);
  return percentile(a.map((value, i) => Math.abs(value * x + b[i] * y)), SHARE) > MAX_HUE_SPREAD;
}

/** Return the pixels of a small copy without its margins, in one row. */
function examinedPart(photo: Photo): Photo {
  const step = Math.max(1, Math.floor(Math.min(photo.height, photo.width) / (SIDE * OVERSAMPLING)));
  let small = sample(photo, step);
  const scale = SIDE / Math.min(small.width, small.height);
  if (scale < 1) {
    const [width, height] = [small.width, small.height].map((side) => roundHalfEven(side * scale));
    small = resizePhotoArea(small, width, height);
  }
  const left = roundHalfEven(small.width * MARGIN);
  const top = roundHalfEven(small.height * MARGIN);
  const width = small.width - 2 * left;
  const rows = [];
  for (let y = top; y < small.height - top; y++) {
    const start = y * small.width + left;
    rows.push(small.pixels.subarray(4 * start, 4 * (start + width)));
  }
  const pixels = new Uint8ClampedArray(4 * width * rows.length);
  rows.forEach((row, i) => pixels.set(row, i * row.length));
  return { ...photo, width: width * rows.length, height: 1, pixels };
}

/** Return every pixel of each `step` columns and rows. */
function sample(photo: Photo, step: number): Photo {
  const [width, height] = [photo.width, photo.height].map((side) => Math.ceil(side / step));
  const pixels = new Uint8ClampedArray(4 * width * height);
  for (let y = 0, place = 0; y < height; y++) {
    for (let x = 0; x < width; x++, place += 4) {
      const source = 4 * step * (y * photo.width + x);
      pixels.set(photo.pixels.subarray(source, source + 4), place);
    }
  }
  return { ...photo, width, height, pixels };
}

/** Return how far the a* or b* of each pixel is from the median of those that are as light. */
function distancesFromTone(L: Float32Array, values: Float32Array): Float64Array {
  const order = Array.from(L, (_, i) => i).sort((i, j) => L[i] - L[j]);
  const distances = new Float64Array(values.length);
  const rest = order.length % TONE_LEVELS;
  for (let level = 0, start = 0; level < TONE_LEVELS; level++) {
    const count = Math.floor(order.length / TONE_LEVELS) + (level < rest ? 1 : 0);
    const part = order.slice(start, start + count);
    const tone = percentile(part.map((i) => values[i]), 50);
    for (const i of part) distances[i] = values[i] - tone;
    start += count;
  }
  return distances;
}

/** Return the unit vector along which the values, taken from 0, vary least. */
function axisOfLeastVariance(a: Float64Array, b: Float64Array): [number, number] {
  let [aa, ab, bb] = [0, 0, 0];
  a.forEach((value, i) => {
    aa += value * value;
    ab += value * b[i];
    bb += b[i] * b[i];
  });
  const angle = Math.atan2(2 * ab, aa - bb) / 2 + Math.PI / 2;
  return [Math.cos(angle), Math.sin(angle)];
}
