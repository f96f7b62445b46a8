// Resizing and averaging of images, equal to OpenCV's `resize` and `blur`.

import type { Photo, Planes } from "../types.ts";
import { roundHalfEven } from "./numbers.ts";

type Values = Float32Array | Uint8ClampedArray;

/** The source values whose weighted sums are the values of the result. */
interface Taps {
  /** Index of the first of them, for each value of the result. */
  first: Int32Array;
  /** Index of its weight, for each value and the end; those of the next ones follow. */
  start: Int32Array;
  weights: Float32Array;
}

/** Two neighbours for each value of the result, and the share of the second. */
interface Neighbors {
  first: Int32Array;
  second: Int32Array;
  share: Float32Array;
}

/** Return planes resized by averaging areas, as of `INTER_AREA`. */
export function resizeArea(planes: Planes, width: number, height: number): Planes {
  return resizePlanes(planes, width, height, areaResizer);
}

/** Return planes resized bilinearly, as of `INTER_LINEAR`. */
export function resizeLinear(planes: Planes, width: number, height: number): Planes {
  return resizePlanes(planes, width, height, linearResizer);
}

type FindNeighbors = (size: number, count: number) => Neighbors;
type Resizer = (
  source: Float32Array, width: number, height: number,
  result: Float32Array, w: number, h: number,
) => void;

function resizePlanes(planes: Planes, width: number, height: number, resizer: Resizer): Planes {
  const { count, width: w, height: h, data } = planes;
  if (w === width && h === height) return { ...planes, data: data.slice() };
  const result = new Float32Array(count * width * height);
  for (let i = 0; i < count; i++) {
    const plane = data.subarray(i * w * h, (i + 1) * w * h);
    const target = result.subarray(i * width * height, (i + 1) * width * height);
    resizer(plane, w, h, target, width, height);
  }
  return { count, width, height, data: result };
}

const areaResizer: Resizer = (source, width, height, result, w, h) => {
  if (w > width || h > height) blend(source, width, height, result, w, h, areaNeighbors);
  else average(source, width, height, result, w, h);
};

const linearResizer: Resizer = (source, width, height, result, w, h) =>
  blend(source, width, height, result, w, h, linearNeighbors);

/** Return a photo resized by averaging areas, in encoded values; alpha is as the colours are. */
export function resizePhotoArea(photo: Photo, width: number, height: number): Photo {
  const { pixels, width: w, height: h } = photo;
  if (w === width && h === height) return { ...photo, pixels: pixels.slice() };
  if (width > w || height > h) return blendPixels(photo, width, height, areaNeighbors);
  const result = new Uint8ClampedArray(4 * width * height);
  if (w === 2 * width && h === 2 * height) halve(pixels, w, result, width, height);
  else average(pixels, w, h, result, width, height);
  return { ...photo, width, height, pixels: result };
}

/** Return a photo resized bilinearly, in encoded values, as `resizePhotoArea`. */
export function resizePhotoLinear(photo: Photo, width: number, height: number): Photo {
  if (photo.width === width && photo.height === height) {
    return { ...photo, pixels: photo.pixels.slice() };
  }
  return blendPixels(photo, width, height, linearNeighbors);
}

/** Average squares of 2 x 2 pixels, rounded half up. */
function halve(
  pixels: Uint8ClampedArray, sourceWidth: number, result: Uint8ClampedArray,
  width: number, height: number,
): void {
  const below = 4 * sourceWidth;
  for (let y = 0, target = 0; y < height; y++) {
    let p = 2 * y * below;
    for (let x = 0; x < width; x++, p += 8) {
      for (let c = p; c < p + 4; c++) {
        const sum = pixels[c] + pixels[c + 4] + pixels[c + below] + pixels[c + below + 4];
        result[target++] = (sum + 2) >> 2;
      }
    }
  }
}

/** Shrink a plane, or pixels, by averaging areas; sums are rounded to 32 bits, as OpenCV's are. */
function average(
  source: Values, width: number, height: number, result: Values, w: number, h: number,
): void {
  const { fround } = Math;
  const channels = result.length / (w * h);
  const isWhole = width % w === 0 && height % h === 0; // sums are then scaled at the end
  const columns = areaTaps(width, w, isWhole);
  const rows = areaTaps(height, h, isWhole);
  const scale = isWhole ? fround((w * h) / (width * height)) : 1;
  const line = new Float32Array(w * channels);
  const sums = new Float32Array(w * channels);
  for (let y = 0; y < h; y++) {
    sums.fill(0);
    for (let k = rows.start[y], row = rows.first[y]; k < rows.start[y + 1]; k++, row++) {
      const part = source.subarray(row * width * channels, (row + 1) * width * channels);
      if (channels === 1) averageLine(part, columns, line);
      else averagePixels(part, columns, line);
      const weight = rows.weights[k];
      for (let i = 0; i < line.length; i++) sums[i] = fround(sums[i] + fround(weight * line[i]));
    }
    if (isWhole) for (let i = 0; i < sums.length; i++) sums[i] *= scale;
    result.set(sums, y * line.length); // levels are rounded half to even
  }
}

/** Set a line to weighted sums of a row of a plane. */
function averageLine(row: Values, { first, start, weights }: Taps, line: Float32Array): void {
  const { fround } = Math;
  for (let x = 0; x < line.length; x++) {
    let sum = 0;
    const end = start[x + 1];
    for (let k = start[x], p = first[x]; k < end; k++, p++) {
      sum = fround(sum + fround(row[p] * weights[k]));
    }
    line[x] = sum;
  }
}

/** Set a line to weighted sums of a row of pixels. */
function averagePixels(row: Values, { first, start, weights }: Taps, line: Float32Array): void {
  const { fround } = Math;
  for (let x = 0; x < first.length; x++) {
    let red = 0;
    let green = 0;
    let blue = 0;
    let alpha = 0;
    const end = start[x + 1];
    for (let k = start[x], p = 4 * first[x]; k < end; k++, p += 4) {
      const weight = weights[k];
      red = fround(red + fround(row[p] * weight));
      green = fround(green + fround(row[p + 1] * weight));
      blue = fround(blue + fround(row[p + 2] * weight));
      alpha = fround(alpha + fround(row[p + 3] * weight));
    }
    line[4 * x] = red;
    line[4 * x + 1] = green;
    line[4 * x + 2] = blue;
    line[4 * x + 3] = alpha;
  }
}

/** Return what of `size` values makes each of `count` averages, or with `isWhole` sums. */
function areaTaps(size: number, count: number, isWhole: boolean): Taps {
  const scale = isWhole ? size / count : scaleOf(size, count);
  const first = new Int32Array(count);
  const start = new Int32Array(count + 1);
  const weights: number[] = [];
  for (let i = 0; i < count; i++) {
    const begin = i * scale;
    const end = begin + scale;
    const cell = isWhole ? 1 : Math.min(scale, size - begin);
    const last = Math.min(Math.floor(end), size - 1); // the first behind the whole ones
    first[i] = Math.min(Math.ceil(begin), last);
    const whole = last - first[i];
    if (first[i] - begin > 1e-3) {
      weights.push((first[i] - begin) / cell);
      first[i] -= 1;
    }
    for (let j = 0; j < whole; j++) weights.push(1 / cell);
    if (end - last > 1e-3) weights.push(Math.min(end - last, 1, isWhole ? 1 : cell) / cell);
    start[i + 1] = weights.length;
  }
  return { first, start, weights: Float32Array.from(weights) };
}

/** Interpolate values between neighbours. */
function blend(
  source: Float32Array, width: number, height: number,
  result: Float32Array, w: number, h: number, neighbors: FindNeighbors,
): void {
  const columns = neighbors(width, w);
  const rows = neighbors(height, h);
  const lines = new LineCache(new Float32Array(w), new Float32Array(w), (line, row) => {
    const start = row * width;
    for (let x = 0; x < w; x++) {
      const value = source[start + columns.first[x]];
      line[x] = value + columns.share[x] * (source[start + columns.second[x]] - value);
    }
  });
  for (let y = 0, target = 0; y < h; y++) {
    const [upper, lower] = lines.get(rows.first[y], rows.second[y]);
    const share = rows.share[y];
    for (let x = 0; x < w; x++, target++) result[target] = upper[x] + share * (lower[x] - upper[x]);
  }
}

/** Interpolate pixels between neighbours in whole numbers, rounded as OpenCV does. */
function blendPixels(photo: Photo, w: number, h: number, neighbors: FindNeighbors): Photo {
  const { width, pixels } = photo;
  const columns = neighbors(width, w);
  const rows = neighbors(photo.height, h);
  const [first, second] = [columns.first, columns.second];
  const shares = fixedShares(columns);
  const lines = new LineCache(new Int32Array(4 * w), new Int32Array(4 * w), (line, row) => {
    const start = row * width;
    for (let x = 0, target = 0; x < w; x++) {
      const left = 4 * (start + first[x]);
      const right = 4 * (start + second[x]);
      for (let c = 0; c < 4; c++, target++) {
        const sum = pixels[left + c] * shares[2 * x] + pixels[right + c] * shares[2 * x + 1];
        line[target] = sum >> 4;
      }
    }
  });
  const rowShares = fixedShares(rows);
  const result = new Uint8ClampedArray(4 * w * h);
  for (let y = 0, target = 0; y < h; y++) {
    const [upper, lower] = lines.get(rows.first[y], rows.second[y]);
    const [above, below] = [rowShares[2 * y], rowShares[2 * y + 1]];
    for (let k = 0; k < 4 * w; k++, target++) {
      result[target] = (((above * upper[k]) >> 16) + ((below * lower[k]) >> 16) + 2) >> 2;
    }
  }
  return { ...photo, width: w, height: h, pixels: result };
}

/** Return the shares of first and second neighbours in 1/2048. */
function fixedShares({ share }: Neighbors): Int32Array {
  return Int32Array.from({ length: 2 * share.length }, (_, i) =>
    roundHalfEven(2048 * (i % 2 === 0 ? 1 - share[i >> 1] : share[i >> 1])),
  );
}

/** The two lines that were made last. */
class LineCache<Line> {
  private rows = [-1, -1];
  private readonly lines: [Line, Line];

  constructor(
    first: Line,
    second: Line,
    private readonly fill: (line: Line, row: number) => void,
  ) {
    this.lines = [first, second];
  }

  /** Return the lines of two rows, which rise from call to call. */
  get(upper: number, lower: number): [Line, Line] {
    if (this.rows[1] === upper && this.rows[0] !== upper) {
      this.lines.reverse();
      this.rows.reverse();
    }
    [upper, lower].forEach((row, i) => {
      if (this.rows[i] !== row) this.fill(this.lines[i], row);
      this.rows[i] = row;
    });
    return this.lines;
  }
}

/** Return the neighbours of each of `count` places between the centres of `size` values. */
function linearNeighbors(size: number, count: number): Neighbors {
  const scale = scaleOf(size, count);
  return neighborsAt(size, count, (i) => (i + 0.5) * scale - 0.5);
}

/** Likewise, as OpenCV averages areas where one side grows. */
function areaNeighbors(size: number, count: number): Neighbors {
  const scale = scaleOf(size, count);
  return neighborsAt(size, count, (i) => {
    const index = Math.floor(i * scale);
    const share = i + 1 - (index + 1) * (count / size);
    return index + (share <= 0 ? 0 : share - Math.floor(share));
  });
}

/** Return the size of an area of the result in the source, with the rounding of OpenCV. */
const scaleOf = (size: number, count: number) => 1 / (count / size);

function neighborsAt(size: number, count: number, placeOf: (index: number) => number): Neighbors {
  const first = new Int32Array(count);
  const second = new Int32Array(count);
  const share = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const place = Math.fround(placeOf(i));
    const index = Math.floor(place);
    first[i] = Math.min(Math.max(index, 0), size - 1);
    second[i] = Math.min(Math.max(index + 1, 0), size - 1);
    share[i] = place - index;
  }
  return { first, second, share };
}

/**
 * Return the means of squares around each value, as of `blur` with `BORDER_REFLECT`.
 *
 * @param radius Of the squares in px: their side is 2 * radius + 1.
 */
export function boxFilter(planes: Planes, radius: number): Planes {
  const { count, width, height, data } = planes;
  const result = new Float32Array(data.length);
  const sums = new Float64Array(width + 2 * radius); // of columns of the squares, also beyond sides
  const scale = 1 / (2 * radius + 1) ** 2;
  for (let i = 0; i < count; i++) {
    const start = i * width * height;
    const add = (row: number, factor: number) => {
      const from = start + reflect(row, height) * width;
      for (let x = 0; x < width; x++) sums[radius + x] += factor * data[from + x];
    };
    sums.fill(0);
    for (let row = -radius - 1; row < radius; row++) add(row, 1);
    for (let y = 0; y < height; y++) {
      add(y + radius, 1);
      add(y - radius - 1, -1);
      for (let x = 1; x <= radius; x++) {
        sums[radius - x] = sums[radius + reflect(-x, width)];
        sums[radius + width - 1 + x] = sums[radius + reflect(width - 1 + x, width)];
      }
      let sum = 0;
      for (let x = 0; x < 2 * radius; x++) sum += sums[x];
      for (let x = 0, target = start + y * width; x < width; x++, target++) {
        sum += sums[x + 2 * radius];
        result[target] = sum * scale;
        sum -= sums[x];
      }
    }
  }
  return { count, width, height, data: result };
}

/** Return the index in an array of `size` values that is repeated in reverse on both sides. */
export function reflect(index: number, size: number): number {
  const period = 2 * size;
  const place = ((index % period) + period) % period;
  return place < size ? place : period - 1 - place;
}
