// Rendering of a colour photo from its own L* and a predicted ab, as of
// `photochrom.colorize.rendering`.

import type { Photo, Planes, Rectangle } from "../types.ts";
import {
  fFast, F_EPSILON, fInverse, LAST, outputTablesOf, resultSpace, SRGB, tablesOf,
} from "./color.ts";
import { cropPhoto } from "./geometry.ts";
import { chromaScale, isOutside, largestChroma } from "./gamut.ts";
import { resizePhotoArea } from "./resize.ts";
import { roundHalfEven } from "./numbers.ts";

/** How strong the new colours are, and how much of the photo's own remains; see `Look`. */
interface Rendering {
  saturation: number;
  strength: number;
}

/** Where pixels lie in the whole photo, and its size; all in px. */
interface Place {
  left: number;
  top: number;
  wholeWidth: number;
  wholeHeight: number;
}

/**
 * Return the photo in colour, as new pixels; a grey space becomes sRGB.
 *
 * @param coefficients Of `Colorizer.predict`.
 * @param options With a region, only this part is rendered, as it would be in the whole photo, but
 *   for rounding.
 */
export function render(
  photo: Photo, coefficients: Planes, options: Rendering & { region?: Rectangle | null },
): Photo {
  const [left, top, width, height] = options.region ?? [0, 0, photo.width, photo.height];
  const part = cropPhoto(photo, [left, top, width, height]);
  const place = { left, top, wholeWidth: photo.width, wholeHeight: photo.height };
  renderPart(part, place, coefficients, options);
  return keepsColors(photo, options.strength) ? part : inColor(part);
}

/** Return a photo that was rendered in place, with the space that its pixels have now. */
export function inColor(photo: Photo): Photo {
  return { ...photo, isGrey: false, space: resultSpace(photo.space) };
}

/** Render rows of a photo in place, from `top` up to `bottom`, in any order. */
export function renderRows(
  photo: Photo, coefficients: Planes, options: Rendering, top: number, bottom: number,
): void {
  const place = { left: 0, top, wholeWidth: photo.width, wholeHeight: photo.height };
  renderPart(rowsOf(photo, top, bottom), place, coefficients, options);
}

/** Return rows of a photo as a view. */
export function rowsOf(photo: Photo, top: number, bottom: number): Photo {
  const length = 4 * photo.width;
  const pixels = photo.pixels.subarray(top * length, bottom * length);
  return { ...photo, height: bottom - top, pixels };
}

/** Return a copy to show on a screen; its long side has at most `maxSide` px. */
export function downscale(photo: Photo, maxSide: number): Photo {
  const scale = Math.min(1, maxSide / Math.max(photo.width, photo.height));
  const [width, height] = [photo.width, photo.height].map((side) =>
    Math.max(1, roundHalfEven(side * scale)),
  );
  return resizePhotoArea(photo, width, height);
}

/** Tell whether pixels stay as they are; going through CIELAB would round blacks. */
export function keepsColors(photo: Photo, strength: number): boolean {
  return strength === 0 && !photo.isGrey;
}

/**
 * Render a part of a photo in place: its own L* with ab = slope * L* + offset.
 *
 * A share of `1 - strength` of the photo's own ab is added.
 */
function renderPart(
  part: Photo, place: Place, coefficients: Planes, { saturation, strength }: Rendering,
): void {
  if (keepsColors(part, strength)) return;
  const { width, height, pixels, isGrey } = part;
  const space = resultSpace(part.space);
  const { luminance: [reds, greens, blues], linear, f: greyF } = tablesOf(part.space);
  const greys = linear[0];
  const { fromXyz, toXyz, levels: [red, green, blue], isIndexedByRoot } = outputTablesOf(space);
  const [m0, m1, m2, m3, m4, m5, m6, m7, m8] = fromXyz;
  const isSrgb = space === SRGB;
  const gamut = largestChroma(space);
  const ownShare = isGrey ? 0 : 1 - strength;
  const line = new Float64Array(4 * coefficients.width);
  const columnScale = coefficients.width / place.wholeWidth;
  const lastColumn = coefficients.width - 1;
  for (let y = 0, p = 0; y < height; y++) {
    interpolateRow(coefficients, saturation * strength, place.top + y, place.wholeHeight, line);
    let column = -1; // of the coefficients, left of the pixel
    let slopeX = 0; // there, and their changes to the next column
    let offsetX = 0;
    let slopeZ = 0;
    let offsetZ = 0;
    let slopeXChange = 0;
    let offsetXChange = 0;
    let slopeZChange = 0;
    let offsetZChange = 0;
    for (let x = 0; x < width; x++, p += 4) {
      const at = clip((place.left + x + 0.5) * columnScale - 0.5, lastColumn);
      if ((at | 0) !== column) {
        column = at | 0;
        const next = 4 * Math.min(column + 1, lastColumn);
        slopeX = line[4 * column];
        offsetX = line[4 * column + 1];
        slopeZ = line[4 * column + 2];
        offsetZ = line[4 * column + 3];
        slopeXChange = line[next] - slopeX;
        offsetXChange = line[next + 1] - offsetX;
        slopeZChange = line[next + 2] - slopeZ;
        offsetZChange = line[next + 3] - offsetZ;
      }
      const share = at - column;
      let Y: number;
      let fY: number;
      if (isGrey) {
        const level = pixels[p];
        Y = greys[level];
        fY = greyF[level];
      } else {
        Y = reds[pixels[p]] + greens[pixels[p + 1]] + blues[pixels[p + 2]];
        fY = fFast(Y);
      }
      let fX = (slopeX + share * slopeXChange) * fY + offsetX + share * offsetXChange;
      let fZ = (slopeZ + share * slopeZChange) * fY + offsetZ + share * offsetZChange;
      if (ownShare > 0) {
        const r = linear[0][pixels[p]];
        const g = linear[1][pixels[p + 1]];
        const b = linear[2][pixels[p + 2]];
        fX += ownShare * (fFast(toXyz[0] * r + toXyz[1] * g + toXyz[2] * b) - fY);
        fZ += ownShare * (fFast(toXyz[6] * r + toXyz[7] * g + toXyz[8] * b) - fY);
      }
      let X = fX > F_EPSILON ? fX * fX * fX : dark(fX, fY, Y, isSrgb);
      let Z = fZ > F_EPSILON ? fZ * fZ * fZ : dark(fZ, fY, Y, isSrgb);
      let r = m0 * X + m1 * Y + m2 * Z;
      let g = m3 * X + m4 * Y + m5 * Z;
      let b = m6 * X + m7 * Y + m8 * Z;
      if (isOutside(r, g, b)) {
        const scale = chromaScale(gamut, fY, fX - fY, fY - fZ);
        fX = fY + (fX - fY) * scale;
        fZ = fY + (fZ - fY) * scale;
        X = fX > F_EPSILON ? fX * fX * fX : dark(fX, fY, Y, isSrgb);
        Z = fZ > F_EPSILON ? fZ * fZ * fZ : dark(fZ, fY, Y, isSrgb);
        r = clip(m0 * X + m1 * Y + m2 * Z, 1);
        g = clip(m3 * X + m4 * Y + m5 * Z, 1);
        b = clip(m6 * X + m7 * Y + m8 * Z, 1);
      }
      if (isIndexedByRoot) {
        r = Math.sqrt(clip(r, 1));
        g = Math.sqrt(clip(g, 1));
        b = Math.sqrt(clip(b, 1));
      }
      // Values just outside of [0, 1] are rounded to it: the tables go on after the last index.
      pixels[p] = red[(r * LAST + 0.5) | 0];
      pixels[p + 1] = green[(g * LAST + 0.5) | 0];
      pixels[p + 2] = blue[(b * LAST + 0.5) | 0];
    }
  }
}

const clip = (value: number, largest: number) =>
  value < 0 ? 0 : value > largest ? largest : value;

/**
 * Return X or Z of a dark colour.
 *
 * Outside sRGB, whose curve starts linearly, blacks need more digits than f has: they are computed
 * as differences from Y, so that greys stay exact.
 */
function dark(value: number, fY: number, Y: number, isSrgb: boolean): number {
  return isSrgb ? fInverse(value) : Y + (fInverse(value) - fInverse(fY));
}

/**
 * Interpolate a row of coefficients, for x and z of `color.ts` in place of a* and b*.
 *
 * From a* = slope L* + offset to x = slope y + offset, with y = (L* + 16) / 116.
 *
 * @param factor On a* and b*.
 * @param y Row of the whole photo.
 * @param wholeHeight Of the photo.
 * @param line Gets slope and offset of x, then of z, of one column after the other.
 */
function interpolateRow(
  { width, height, data }: Planes, factor: number, y: number, wholeHeight: number,
  line: Float64Array,
): void {
  const at = clip((y + 0.5) * (height / wholeHeight) - 0.5, height - 1);
  const upper = Math.floor(at);
  const lower = Math.min(upper + 1, height - 1);
  const share = at - upper;
  const size = width * height;
  for (let axis = 0; axis < 2; axis++) {
    const unit = factor * (axis === 0 ? 1 / 500 : -1 / 200);
    let above = axis * size + upper * width; // of the slope; the offset is two planes later
    let below = axis * size + lower * width;
    for (let target = 2 * axis; target < 4 * width; target += 4, above++, below++) {
      const slope = data[above] + share * (data[below] - data[above]);
      const offset =
        data[above + 2 * size] + share * (data[below + 2 * size] - data[above + 2 * size]);
      line[target] = slope * 116 * unit + 1;
      line[target + 1] = (offset - 16 * slope) * unit;
    }
  }
}
