// A photo turned, then straightened, then cropped, before it is colorized; as of
// `photochrom.imagefile.geometry`. What else has a position counts in px of the upright photo,
// before all of it.

import { type Look, type Photo, PhotoError, type Rectangle } from "../types.ts";

/** The keys of a look that turn, straighten and crop. */
export type Geometry = Pick<Look, "turn" | "straighten" | "crop">;

const MAX_STRAIGHTEN = 45; // degrees
/** Degrees clockwise to their cosine and sine. */
const QUARTERS: Record<number, [number, number]> = {
  0: [1, 0], 90: [0, 1], 180: [-1, 0], 270: [0, -1],
};
const TOLERANCE = 1e-6; // in px, for rounding
const TILE = 1024; // px, side of parts that are interpolated one by one
const REACH = 3; // px, of the farthest pixel that an interpolated one depends on, rounded up
const CUBIC = -0.75; // of the bicubic kernel
const TAPS = 4;

/** A matrix of 2 x 3, row by row: a place to another place. */
type Affine = [number, number, number, number, number, number];

/** Throw `PhotoError` if a value is not allowed for any photo. */
export function checkGeometry({ turn, straighten, crop }: Geometry): void {
  if (!(turn in QUARTERS)) {
    throw new PhotoError(`turn is ${turn}; it has to be 0, 90, 180 or 270, in degrees clockwise`);
  }
  if (!(Math.abs(straighten) <= MAX_STRAIGHTEN)) {
    throw new PhotoError(
      `straighten is ${straighten}; it has to be from ${-MAX_STRAIGHTEN} to ${MAX_STRAIGHTEN}, ` +
        "in degrees clockwise",
    );
  }
  if (crop === null) return;
  if (crop.length !== 4 || !crop.every(Number.isSafeInteger)) {
    throw new PhotoError(
      `crop is (${crop.join(", ")}); it has to be four whole numbers: left, top, width, height, ` +
        "in px",
    );
  }
  const [left, top, width, height] = crop;
  if (Math.min(left, top) < 0 || Math.min(width, height) < 1) {
    throw new PhotoError(
      `the crop ${crop} (left, top, width, height) is not allowed: left and top have to be at ` +
        "least 0, width and height at least 1",
    );
  }
}

/** Tell whether every photo stays as it is. */
function isIdentity({ turn, straighten, crop }: Geometry): boolean {
  return turn === 0 && straighten === 0 && crop === null;
}

/**
 * Return the crop of a photo, in px of the turned and straightened photo.
 *
 * @param width Of the upright photo, in px.
 * @param height Of the upright photo, in px.
 *
 * Throws `PhotoError` if the crop reaches out of the photo, or into an empty corner.
 */
export function rectangleOf(geometry: Geometry, width: number, height: number): Rectangle {
  checkGeometry(geometry);
  const { turn, straighten, crop } = geometry;
  const [w, h] = turn % 180 ? [height, width] : [width, height];
  if (crop === null) return largestRectangle(w, h, straighten);
  const text = `the crop ${crop} (left, top, width, height)`;
  if (crop[0] + crop[2] > w || crop[1] + crop[3] > h) {
    throw new PhotoError(
      `${text} reaches out of the${turn ? " turned" : ""} photo of ${w}x${h}; give one inside of ` +
        "it",
    );
  }
  if (straighten && !isCovered(crop, w, h, straighten)) {
    throw new PhotoError(
      `${text} reaches into an empty corner of the photo straightened by ` +
        `${Number(straighten.toPrecision(6))} degrees; give a smaller one, such as ` +
        `${largestRectangle(w, h, straighten)}`,
    );
  }
  return crop;
}

/** Return width and height in px of the result; throws as `rectangleOf`. */
export function resultSize(geometry: Geometry, width: number, height: number): [number, number] {
  const [, , w, h] = rectangleOf(geometry, width, height);
  return [w, h];
}

/**
 * Return where a pixel of the upright photo comes to lie in the result; throws as `rectangleOf`.
 *
 * @returns The place of the pixel's centre, in px from the upper left corner of the result; null if
 *   it lies outside.
 */
export function placeOf(
  geometry: Geometry, x: number, y: number, width: number, height: number,
): [number, number] | null {
  const [w, h] = resultSize(geometry, width, height);
  const place = transform(toResult(geometry, width, height), x + 0.5, y + 0.5);
  const [a, b] = place;
  return a >= 0 && a < w && b >= 0 && b < h ? place : null;
}

/**
 * Return column and row of the pixel of the upright photo that comes to lie at a place, as of
 * `placeOf`; throws as `rectangleOf`.
 */
export function originOf(
  geometry: Geometry, x: number, y: number, width: number, height: number,
): [number, number] {
  const [a, b, dx, c, d, dy] = toResult(geometry, width, height);
  const column = Math.floor(a * (x - dx) + c * (y - dy) + TOLERANCE);
  const row = Math.floor(b * (x - dx) + d * (y - dy) + TOLERANCE);
  return [Math.min(Math.max(column, 0), width - 1), Math.min(Math.max(row, 0), height - 1)];
}

const transform = ([a, b, dx, c, d, dy]: Affine, x: number, y: number): [number, number] => [
  a * x + b * y + dx,
  c * x + d * y + dy,
];

/** Return the matrix from the upright photo to the result, a rotation and an offset. */
function toResult(geometry: Geometry, width: number, height: number): Affine {
  const [left, top] = rectangleOf(geometry, width, height);
  const [turnCos, turnSin] = QUARTERS[geometry.turn];
  const [cos, sin] = cosSin(geometry.straighten);
  const a = cos * turnCos - sin * turnSin;
  const b = -cos * turnSin - sin * turnCos;
  const [w, h] = geometry.turn % 180 ? [height, width] : [width, height];
  const dx = w / 2 - (a * width + b * height) / 2 - left;
  const dy = h / 2 - (-b * width + a * height) / 2 - top;
  return [a, b, dx, -b, a, dy];
}

/**
 * Return the photo turned, straightened and cropped; throws as `rectangleOf`.
 *
 * Straightening interpolates bicubically, in encoded values: the scale stays, so no light is
 * averaged, and in linear light the kernel's negative lobes would leave dark rims. Colours are
 * weighted by opacity.
 */
export function applyGeometry(photo: Photo, geometry: Geometry): Photo {
  const rectangle = rectangleOf(geometry, photo.width, photo.height);
  if (isIdentity(geometry)) return photo;
  const turned = turnPhoto(photo, geometry.turn);
  if (geometry.straighten !== 0) return straightenPhoto(turned, geometry.straighten, rectangle);
  return geometry.crop === null ? turned : cropPhoto(turned, rectangle);
}

/** Return a copy of a part of a photo. */
export function cropPhoto(photo: Photo, [left, top, width, height]: Rectangle): Photo {
  const pixels = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y++) {
    const start = 4 * ((top + y) * photo.width + left);
    pixels.set(photo.pixels.subarray(start, start + 4 * width), 4 * y * width);
  }
  return { ...photo, width, height, pixels };
}

/** Return a photo turned by degrees clockwise: 0, 90, 180 or 270. */
function turnPhoto(photo: Photo, turn: number): Photo {
  if (turn === 0) return photo;
  const [width, height] = turn % 180 ? [photo.height, photo.width] : [photo.width, photo.height];
  const [cos, sin] = QUARTERS[turn];
  const source = pixelWords(photo.pixels);
  const result = new Uint32Array(width * height);
  // Steps in the source of a step to the right and of one downwards.
  const across = cos - sin * photo.width;
  const down = sin + cos * photo.width;
  const corners: Record<number, number> = {
    90: source.length - photo.width, 180: source.length - 1, 270: photo.width - 1,
  };
  let start = corners[turn]; // index in the source of the first pixel of a row
  for (let y = 0, target = 0; y < height; y++, start += down) {
    for (let x = 0, from = start; x < width; x++, from += across) result[target++] = source[from];
  }
  return { ...photo, width, height, pixels: new Uint8ClampedArray(result.buffer) };
}

/** Return pixels as words of 32 bits; a view if they are aligned. */
function pixelWords(pixels: Uint8ClampedArray): Uint32Array {
  const aligned = pixels.byteOffset % 4 === 0 ? pixels : pixels.slice();
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
}

/**
 * Return the largest centred rectangle of the aspect ratio without empty corners.
 *
 * Its scale is that at which it touches the sides of the photo, its sides are rounded down.
 */
function largestRectangle(width: number, height: number, angle: number): Rectangle {
  const [cos, signed] = cosSin(angle);
  const sin = Math.abs(signed);
  const scale = Math.min(
    width / (width * cos + height * sin), height / (width * sin + height * cos),
  );
  const [w, h] = [width, height].map((side) => Math.max(1, Math.floor(scale * side + TOLERANCE)));
  return [Math.floor((width - w) / 2), Math.floor((height - h) / 2), w, h];
}

/** Tell whether the centres of all pixels of a rectangle lie in the straightened photo. */
function isCovered(
  [left, top, w, h]: Rectangle, width: number, height: number, angle: number,
): boolean {
  const matrix = toSource(width, height, angle);
  const isInside = (x: number, y: number) => {
    const [a, b] = transform(matrix, x, y);
    return (
      a >= -TOLERANCE && a <= width + TOLERANCE && b >= -TOLERANCE && b <= height + TOLERANCE
    );
  };
  return [left + 0.5, left + w - 0.5].every((x) =>
    [top + 0.5, top + h - 0.5].every((y) => isInside(x, y)),
  );
}

function cosSin(degrees: number): [number, number] {
  const angle = (degrees * Math.PI) / 180;
  return [Math.cos(angle), Math.sin(angle)];
}

/** Return the matrix from a place in the straightened photo to that in the photo, both in px. */
function toSource(width: number, height: number, angle: number): Affine {
  const [cos, sin] = cosSin(angle);
  const [x, y] = [width / 2, height / 2];
  return [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y];
}

/**
 * Return a rectangle of the straightened photo.
 *
 * Tiles and the rounding of places to 32 bits are those of photochrom and OpenCV, whose pixels
 * these are to be.
 */
function straightenPhoto(photo: Photo, angle: number, rectangle: Rectangle): Photo {
  const [left, top, width, height] = rectangle;
  const matrix = toSource(photo.width, photo.height, angle);
  const result = { ...photo, width, height, pixels: new Uint8ClampedArray(4 * width * height) };
  for (let y = 0; y < height; y += TILE) {
    for (let x = 0; x < width; x += TILE) {
      const tile: Rectangle = [x, y, Math.min(TILE, width - x), Math.min(TILE, height - y)];
      straightenTile(photo, matrix, left, top, result, tile);
    }
  }
  return result;
}

/** Fill a tile of the result, which lies at `left` and `top` in the straightened photo. */
function straightenTile(
  photo: Photo, matrix: Affine, left: number, top: number,
  result: Photo, [tileX, tileY, w, h]: Rectangle,
): void {
  const { fround } = Math;
  const [x0, y0] = [left + tileX, top + tileY];
  const corners = [x0, x0 + w].flatMap((x) => [y0, y0 + h].map((y) => transform(matrix, x, y)));
  const [startX, startY] = [0, 1].map((axis) =>
    Math.max(Math.floor(Math.min(...corners.map((corner) => corner[axis]))) - REACH, 0),
  );
  // Centres of pixels lie at 0.5, where an index counts from 0.
  const [originX, originY] = transform(matrix, x0 + 0.5, y0 + 0.5);
  const offsetX = fround(originX - 0.5 - startX);
  const offsetY = fround(originY - 0.5 - startY);
  const [a, b, , c, d] = matrix.map(fround);
  const weights = new Float64Array(2 * TAPS); // of columns, then of rows
  const lastX = photo.width - TAPS;
  const lastY = photo.height - TAPS;
  for (let y = 0; y < h; y++) {
    const lineX = fround(fround(y * b) + offsetX);
    const lineY = fround(fround(y * d) + offsetY);
    let target = 4 * ((tileY + y) * result.width + tileX);
    for (let x = 0; x < w; x++, target += 4) {
      const placeX = fround(fround(x * a) + lineX);
      const placeY = fround(fround(x * c) + lineY);
      const column = Math.floor(placeX);
      const row = Math.floor(placeY);
      setCubicWeights(placeX - column, weights, 0);
      setCubicWeights(placeY - row, weights, TAPS);
      const firstX = startX + column - 1;
      const firstY = startY + row - 1;
      const isInside = firstX >= 0 && firstX <= lastX && firstY >= 0 && firstY <= lastY;
      if (isInside && !photo.hasAlpha) {
        interpolateInside(photo, firstX, firstY, weights, result.pixels, target);
      } else {
        interpolate(photo, firstX, firstY, weights, result.pixels, target);
      }
    }
  }
}

/** Set the bicubic weights of the values at -1, 0, 1 and 2 for a place from 0 to 1. */
function setCubicWeights(place: number, weights: Float64Array, start: number): void {
  const rest = 1 - place;
  const outer = CUBIC * place * rest; // the weights of -1 and 2 are its shares
  weights[start] = outer * rest;
  weights[start + 1] = ((CUBIC + 2) * place - (CUBIC + 3)) * place * place + 1;
  weights[start + 2] = ((CUBIC + 2) * rest - (CUBIC + 3)) * rest * rest + 1;
  weights[start + 3] = outer * place;
}

/** Set a pixel of the result to a weighted mean of opaque pixels that all lie in the photo. */
function interpolateInside(
  { width, pixels }: Photo, left: number, top: number, weights: Float64Array,
  result: Uint8ClampedArray, target: number,
): void {
  const w0 = weights[0];
  const w1 = weights[1];
  const w2 = weights[2];
  const w3 = weights[3];
  let red = 0;
  let green = 0;
  let blue = 0;
  for (let i = 0, p = 4 * (top * width + left); i < TAPS; i++, p += 4 * width) {
    const weight = weights[TAPS + i];
    red += weight * (
      w0 * pixels[p] + w1 * pixels[p + 4] + w2 * pixels[p + 8] + w3 * pixels[p + 12]
    );
    green += weight * (
      w0 * pixels[p + 1] + w1 * pixels[p + 5] + w2 * pixels[p + 9] + w3 * pixels[p + 13]
    );
    blue += weight * (
      w0 * pixels[p + 2] + w1 * pixels[p + 6] + w2 * pixels[p + 10] + w3 * pixels[p + 14]
    );
  }
  result[target] = red; // is rounded and clipped
  result[target + 1] = green;
  result[target + 2] = blue;
  result[target + 3] = 255;
}

/** Set a pixel of the result to a weighted mean; beyond the edges, pixels are repeated. */
function interpolate(
  { width, height, pixels, hasAlpha }: Photo, left: number, top: number, weights: Float64Array,
  result: Uint8ClampedArray, target: number,
): void {
  let red = 0;
  let green = 0;
  let blue = 0;
  let opacity = 0;
  for (let i = 0; i < TAPS; i++) {
    const row = clip(top + i, height - 1) * width;
    for (let j = 0; j < TAPS; j++) {
      const p = 4 * (row + clip(left + j, width - 1));
      let weight = weights[TAPS + i] * weights[j];
      if (hasAlpha) {
        weight *= pixels[p + 3];
        opacity += weight;
      }
      red += weight * pixels[p];
      green += weight * pixels[p + 1];
      blue += weight * pixels[p + 2];
    }
  }
  const scale = hasAlpha ? 1 / Math.max(opacity, 1) : 1;
  result[target] = red * scale; // is rounded and clipped
  result[target + 1] = green * scale;
  result[target + 2] = blue * scale;
  result[target + 3] = hasAlpha ? opacity : 255;
}

const clip = (index: number, last: number) => Math.min(Math.max(index, 0), last);
