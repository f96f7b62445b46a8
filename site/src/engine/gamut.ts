// Gamut mapping: reduce the chroma of a colour until its space contains it. Clipping each channel
// would shift L*, which is the photograph itself. Scaling a* and b* by one factor keeps lightness
// and hue. As of `photochrom.color.gamut`.

import type { ColorSpace } from "../types.ts";
import { cached, fInverse, outputTablesOf } from "./color.ts";

const L_STEPS = 241; // resolution of the table of largest chroma
const HUE_STEPS = 270;
const WIDTH = HUE_STEPS + 2; // of the table
const MAX_CHROMA = 256;
const BISECTIONS = 14; // to 1/64 of a CIELAB unit

/** Least and largest linear values that count as inside a gamut: rounding. */
const MIN_LINEAR = -1e-5; // a lower one would tint black
const MAX_LINEAR = 1 + 1e-4;

const tables = new WeakMap<ColorSpace, Float32Array>();

/** Tell whether linear values lie outside of the gamut. */
export function isOutside(r: number, g: number, b: number): boolean {
  return (
    r < MIN_LINEAR || g < MIN_LINEAR || b < MIN_LINEAR ||
    r > MAX_LINEAR || g > MAX_LINEAR || b > MAX_LINEAR
  );
}

/**
 * Reduce the chroma of colours until a space contains them.
 *
 * @param space An RGB space.
 * @param L L* of n colours.
 * @param ab a* of all, then b* of all: 2 n values.
 * @returns New values, as `ab`.
 */
export function limitChroma(
  space: ColorSpace, L: ArrayLike<number>, ab: ArrayLike<number>,
): Float32Array {
  const table = largestChroma(space);
  const count = L.length;
  const limited = new Float32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const [a, b] = [ab[i], ab[count + i]];
    const scale = chromaScale(table, (L[i] + 16) / 116, a / 500, b / 200);
    limited[i] = a * scale;
    limited[count + i] = b * scale;
  }
  return limited;
}

/**
 * Return the largest factor in [0, 1] on a*\/500 and b*\/200 that a space contains.
 *
 * @param table Of `largestChroma`.
 * @param y (L* + 16) / 116.
 * @param a a* / 500.
 * @param b b* / 200.
 */
export function chromaScale(table: Float32Array, y: number, a: number, b: number): number {
  const aStar = a * 500;
  const bStar = b * 200;
  const chroma = Math.sqrt(aStar * aStar + bStar * bStar);
  const turns = Math.atan2(bStar, aStar) / (2 * Math.PI);
  const column = (turns < 0 ? turns + 1 : turns) * HUE_STEPS;
  const row = Math.min(Math.max((y * 116 - 16) * ((L_STEPS - 1) / 100), 0), L_STEPS - 1);
  const left = column | 0;
  const top = Math.min(row | 0, L_STEPS - 2);
  const right = column - left;
  const place = top * WIDTH + left;
  const upper = table[place] + right * (table[place + 1] - table[place]);
  const below = place + WIDTH;
  const lower = table[below] + right * (table[below + 1] - table[below]);
  const largest = upper + (row - top) * (lower - upper);
  return Math.min(largest / Math.max(chroma, 1e-6), 1);
}

/**
 * Return the largest chroma of an RGB space at every lightness and hue, computed once.
 *
 * Rows are L* from 0 to 100, columns are hue from 0 to just over 2 pi.
 */
export function largestChroma(space: ColorSpace): Float32Array {
  return cached(tables, space, findLargestChroma);
}

function findLargestChroma(space: ColorSpace): Float32Array {
  const m = outputTablesOf(space).fromXyz;
  const table = new Float32Array(L_STEPS * WIDTH);
  for (let column = 0; column < WIDTH; column++) {
    const hue = column * ((2 * Math.PI) / HUE_STEPS);
    const a = Math.cos(hue) / 500;
    const b = Math.sin(hue) / 200;
    for (let row = 0; row < L_STEPS; row++) {
      const y = ((row * 100) / (L_STEPS - 1) + 16) / 116;
      const Y = Math.fround(fInverse(Math.fround(y)));
      let chroma = 0;
      for (let step = MAX_CHROMA / 2, i = 0; i < BISECTIONS; step /= 2, i++) {
        const larger = chroma + step;
        const X = fInverse(y + a * larger);
        const Z = fInverse(y - b * larger);
        const red = m[0] * X + m[1] * Y + m[2] * Z;
        const green = m[3] * X + m[4] * Y + m[5] * Z;
        const blue = m[6] * X + m[7] * Y + m[8] * Z;
        const inside =
          red >= 0 && green >= 0 && blue >= 0 && red <= 1 && green <= 1 && blue <= 1;
        if (inside) chroma = larger;
      }
      table[row * WIDTH + column] = chroma;
    }
  }
  return table;
}
