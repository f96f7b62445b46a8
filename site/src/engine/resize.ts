// Resizing and averaging of images, equal to OpenCV's `resize` and `blur`.

import type { Photo, Planes } from "../types.ts";
import { roundHalfEven } from "./numbers.ts";

type Values = Float32Array | Uint8ClampedArray;

/** One of the source values, or shares of them, whose sum is a value of the result. */
interface Taps {
  /** Index in the source. */
  source: Int32Array;
  /** Index in the result, rising. */
  target: Int32Array;
  weight: Float32Array;
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
  else average(source, width, height, result, w, h, 1);
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
  else average(pixels, w, h, result, width, height, 4);
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

/** Shrink interleaved values of some channels; sums are rounded to 32 bits, as OpenCV's are. */
function average(
  source: Values, width: number, height: number, result: Values, w: number, h: number,
  channels: number,
): void {
  const { fround } = Math;
  const columns = areaTaps(width, w, channels);
  const rows = areaTaps(height, h, 1);
  const length = w * channels;
  const line = new Float32Array(length);
  const sum = new Float32Array(length);
  const { source: places, target: targets, weight: weights } = columns;
  const count = places.length;
  for (let i = 0; i < rows.source.length; i++) {
    const start = rows.source[i] * width * channels;
    line.fill(0);
    if (channels === 4) {
      for (let k = 0; k < count; k++) {
        const p = start + places[k];
        const target = targets[k];
        const weight = weights[k];
        line[target] = fround(line[target] + fround(source[p] * weight));
        line[target + 1] = fround(line[target + 1] + fround(source[p + 1] * weight));
        line[target + 2] = fround(line[target + 2] + fround(source[p + 2] * weight));
        line[target + 3] = fround(line[target + 3] + fround(source[p + 3] * weight));
      }
    } else {
      for (let k = 0; k < count; k++) {
        line[targets[k]] = fround(
          line[targets[k]] + fround(source[start + places[k]] * weights[k]),
        );
      }
    }
    const row = rows.target[i];
    const weight = rows.weight[i];
    const isFirst = i === 0 || rows.target[i - 1] !== row;
    for (let k = 0; k < length; k++) {
      const part = fround(weight * line[k]);
      sum[k] = isFirst ? part : fround(sum[k] + part);
    }
    if (rows.target[i + 1] !== row) result.set(sum, row * length); // rounds half to even
  }
}

/** Return what of `size` values makes each of `count` averages; indices count channels. */
function areaTaps(size: number, count: number, channels: number): Taps {
  const scale = scaleOf(size, count);
  const source: number[] = [];
  const target: number[] = [];
  const weight: number[] = [];
  const add = (from: number, to: number, share: number) => {
    source.push(from * channels);
    target.push(to * channels);
    weight.push(share);
  };
  for (let i = 0; i < count; i++) {
    const start = i * scale;
    const end = start + scale;
    const cell = Math.min(scale, size - start);
    const last = Math.min(Math.floor(end), size - 1);
    const first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) add(first - 1, i, (first - start) / cell);
    for (let j = first; j < last; j++) add(j, i, 1 / cell);
    if (end - last > 1e-3) add(last, i, Math.min(end - last, 1, cell) / cell);
  }
  return {
    source: Int32Array.from(source),
    target: Int32Array.from(target),
    weight: Float32Array.from(weight),
  };
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
export function linearNeighbors(size: number, count: number): Neighbors {
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
  const sums = new Float64Array(width); // of a column of the squares
  const scale = 1 / (2 * radius + 1) ** 2;
  const columns = Int32Array.from({ length: width + 2 * radius }, (_, i) =>
    reflect(i - radius, width),
  );
  for (let i = 0; i < count; i++) {
    const start = i * width * height;
    const add = (row: number, factor: number) => {
      const from = start + reflect(row, height) * width;
      for (let x = 0; x < width; x++) sums[x] += factor * data[from + x];
    };
    sums.fill(0);
    for (let row = -radius - 1; row < radius; row++) add(row, 1);
    for (let y = 0; y < height; y++) {
      add(y + radius, 1);
      add(y - radius - 1, -1);
      let sum = 0;
      for (let x = 0; x < 2 * radius; x++) sum += sums[columns[x]];
      for (let x = 0, target = start + y * width; x < width; x++, target++) {
        sum += sums[columns[x + 2 * radius]];
        result[target] = sum * scale;
        sum -= sums[columns[x]];
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
