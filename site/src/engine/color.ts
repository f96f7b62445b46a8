// Colour: RGB spaces, CIE XYZ and CIELAB (CIE 1976, D65, 2 degree observer), as of
// `photochrom.color`. x, y and z are CIELAB's f of X/Xn, Y/Yn and Z/Zn:
// x = y + a*/500, y = (L* + 16)/116, z = y - b*/200.

import type { ColorSpace, Photo, Planes } from "../types.ts";
import { invert, multiply } from "./matrix.ts";

/** Number of values of a transfer curve. */
export const CURVE_LENGTH = 65536;
/** Linear sRGB to CIE XYZ, row by row. */
export const RGB_TO_XYZ = Float32Array.of(
  0.412453, 0.35758, 0.180423, 0.212671, 0.71516, 0.072169, 0.019334, 0.119193, 0.950227,
);
/** CIE XYZ of D65. */
export const WHITE = Float32Array.of(0.95047, 1, 1.08883);
const EPSILON = 0.008856; // (6/29)^3: f is linear below it, a cube root above
const KAPPA = 7.787; // (29/6)^2 / 3
/** f of the end of its linear part. */
export const F_EPSILON = Math.fround(24 / 116);
const F_STEPS = 4096; // of the table of f

/** Undo the sRGB transfer curve (IEC 61966-2-1), value in [0, 1]. */
export function srgbToLinear(value: number): number {
  return value > 0.04045 ? ((value + 0.055) / 1.055) ** 2.4 : value / 12.92;
}

/** Apply the sRGB transfer curve, value in [0, 1]. */
export function linearToSrgb(value: number): number {
  return value > 0.0031308 ? 1.055 * value ** (1 / 2.4) - 0.055 : value * 12.92;
}

const srgbCurve = Float32Array.from({ length: CURVE_LENGTH }, (_, i) =>
  srgbToLinear(Math.fround(i / (CURVE_LENGTH - 1))),
);

export const SRGB: ColorSpace = {
  curves: [srgbCurve, srgbCurve, srgbCurve],
  matrix: Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1),
};

/** Return the space of the photo in colour. */
export function resultSpace(space: ColorSpace): ColorSpace {
  return space.matrix === null ? SRGB : space;
}

/** Apply f to a value of XYZ relative to white. */
export function f(t: number): number {
  return t > EPSILON ? Math.cbrt(t) : KAPPA * t + 16 / 116;
}

/** Invert f. Its linear branch is the tangent of the cube where they meet. */
export function fInverse(value: number): number {
  return value > F_EPSILON
    ? value * value * value
    : F_EPSILON * F_EPSILON * F_EPSILON + (value - F_EPSILON) / KAPPA;
}

const fTable = Float64Array.from({ length: F_STEPS + 2 }, (_, i) => Math.cbrt(i / F_STEPS));

/** Apply f by interpolation in a table, to 5e-6; several times faster than `f`. */
export function fFast(t: number): number {
  if (t <= EPSILON) return KAPPA * t + 16 / 116;
  if (t >= 1) return Math.cbrt(t);
  const place = t * F_STEPS;
  const index = place | 0;
  const low = fTable[index];
  return low + (place - index) * (fTable[index + 1] - low);
}

/** What the conversions of pixels of 8 bits look up for a space. */
interface Tables {
  /** Linear value of each level, of red, green and blue; of grey all three are the same. */
  linear: [Float64Array, Float64Array, Float64Array];
  /** Its share of Y: the sum over red, green and blue is Y. */
  luminance: [Float64Array, Float64Array, Float64Array];
  /** f of the linear value of each level, of the first channel. */
  f: Float64Array;
}

/** What converting to pixels of 8 bits looks up for an RGB space. */
interface OutputTables {
  /** XYZ relative to white to linear values, row by row. */
  fromXyz: Float64Array;
  /** Linear values to XYZ relative to white, row by row. */
  toXyz: Float64Array;
  /** Levels by linear value, or by its square root; index `LAST` is 1, some more follow. */
  levels: [Uint8Array, Uint8Array, Uint8Array];
  /** Square roots resolve steep blacks; sRGB, whose curve starts linearly, does without. */
  isIndexedByRoot: boolean;
}

/** Index of the linear value 1 in `OutputTables.levels`. */
export const LAST = 65535;
const SPARE = 16; // entries after `LAST`, for values just above 1

const inputTables = new WeakMap<ColorSpace, Tables>();
const outputTables = new WeakMap<ColorSpace, OutputTables>();

/** Return the tables of a space, computed once. */
export function tablesOf(space: ColorSpace): Tables {
  return cached(inputTables, space, makeTables);
}

/** Return the output tables of an RGB space, computed once. */
export function outputTablesOf(space: ColorSpace): OutputTables {
  return cached(outputTables, space, makeOutputTables);
}

/** Return what a map has for a key, made when it is asked for first. */
export function cached<K extends object, V>(map: WeakMap<K, V>, key: K, make: (key: K) => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make(key);
    map.set(key, value);
  }
  return value;
}

function makeTables(space: ColorSpace): Tables {
  const channel = (index: number) => space.curves[space.matrix === null ? 0 : index];
  const levels = [0, 1, 2].map((index) =>
    Float64Array.from({ length: 256 }, (_, level) => channel(index)[level * 257]),
  ) as Tables["linear"];
  const shares = space.matrix === null ? [1, 0, 0] : multiply(RGB_TO_XYZ, space.matrix).slice(3, 6);
  return {
    linear: levels,
    luminance: levels.map((values, index) =>
      values.map((value) => value * Math.fround(shares[index])),
    ) as Tables["luminance"],
    f: levels[0].map(f),
  };
}

function makeOutputTables(space: ColorSpace): OutputTables {
  const fromXyz = xyzToLinear(space);
  const isIndexedByRoot = space !== SRGB;
  const levels: Uint8Array[] = [];
  for (const curve of space.curves) {
    const same = space.curves.indexOf(curve);
    levels.push(levels[same] ?? levelsByLinear(curve, isIndexedByRoot));
  }
  return {
    fromXyz,
    toXyz: invert(fromXyz),
    levels: levels as OutputTables["levels"],
    isIndexedByRoot,
  };
}

/** Return the rounded level of each of `LAST` + 1 linear values, or of its square root. */
function levelsByLinear(curve: Float32Array, isIndexedByRoot: boolean): Uint8Array {
  const levels = new Uint8Array(LAST + 1 + SPARE);
  let place = 0; // the last with a linear value up to that which is asked for
  for (let index = 0; index <= LAST; index++) {
    const share = index / LAST;
    const linear = isIndexedByRoot ? share * share : share;
    while (place + 1 < CURVE_LENGTH && curve[place + 1] <= linear) place++;
    let value = place;
    if (linear > curve[place] && place + 1 < CURVE_LENGTH) {
      value += (linear - curve[place]) / (curve[place + 1] - curve[place]);
    }
    levels[index] = (value / (CURVE_LENGTH - 1)) * 255 + 0.5;
  }
  levels.fill(levels[LAST], LAST + 1);
  return levels;
}

/**
 * Return the matrix from XYZ relative to white to linear values of an RGB space, row by row.
 *
 * Rows are scaled so that white stays 1: matrix and white point are rounded.
 */
function xyzToLinear(space: ColorSpace): Float64Array {
  if (space.matrix === null) throw new TypeError("a space of grey has no matrix");
  const fromXyz = Float32Array.from(
    Float32Array.from(invert(RGB_TO_XYZ)),
    (value, i) => value * WHITE[i % 3],
  );
  const matrix = multiply(invert(space.matrix), fromXyz);
  return Float64Array.from(matrix, (value, i) => {
    const row = i - (i % 3);
    return Math.fround(value / (matrix[row] + matrix[row + 1] + matrix[row + 2]));
  });
}

/** Return Y, in [0, 1], of each pixel of a photo. */
export function luminance(photo: Photo): Float32Array {
  const { pixels } = photo;
  const [red, green, blue] = tablesOf(photo.space).luminance;
  const Y = new Float32Array(photo.width * photo.height);
  for (let i = 0, p = 0; i < Y.length; i++, p += 4) {
    Y[i] = red[pixels[p]] + green[pixels[p + 1]] + blue[pixels[p + 2]];
  }
  return Y;
}

/** Return L*, 0 to 100, of a photo: one plane. */
export function lightness(photo: Photo): Planes {
  const data = luminance(photo);
  for (let i = 0; i < data.length; i++) data[i] = f(data[i]) * 116 - 16;
  return { count: 1, width: photo.width, height: photo.height, data };
}

/** Return a* and b* of a photo: two planes. */
export function ab(photo: Photo): Planes {
  const { width, height, pixels, space } = photo;
  const count = width * height;
  const data = new Float32Array(2 * count);
  const [reds, greens, blues] = tablesOf(space).linear;
  const m = outputTablesOf(space).toXyz;
  for (let i = 0, p = 0; i < count; i++, p += 4) {
    const r = reds[pixels[p]];
    const g = greens[pixels[p + 1]];
    const b = blues[pixels[p + 2]];
    const y = f(m[3] * r + m[4] * g + m[5] * b);
    data[i] = 500 * (f(m[0] * r + m[1] * g + m[2] * b) - y);
    data[count + i] = 200 * (y - f(m[6] * r + m[7] * g + m[8] * b));
  }
  return { count: 2, width, height, data };
}
