// Mean shift filtering (Comaniciu and Meer 2002), with the rounding of OpenCV's
// pyrMeanShiftFiltering of one pyramid level, so that regions are those of the Python code.

import { mirror, pixelsAround, roundHalfEven } from "./numbers.ts";

/** Interleaved red, green and blue, row by row. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array;
}

const MAX_STEPS = 5;
const MIN_SHIFT = 1; // a step that changes place and squared colour by less is the last

/**
 * Flatten parts of similar colour, and keep the edges between them.
 *
 * An image of half the size is filtered first; at full size, only what is near its edges.
 *
 * @param radius In px, of the window of places.
 * @param range Of the window of colours, 0 to 255.
 */
export function filterMeanShift(image: RgbImage, radius: number, range: number): RgbImage {
  const small = halve(image);
  const limit = roundHalfEven(range * range);
  const smallResult = { ...small, data: small.data.slice() };
  shift(small, smallResult, Math.max(radius / 2, 1), limit, null);
  const result = double(smallResult, image.width, image.height);
  const edges = edgesOf(smallResult, image, Math.max(limit, 16));
  shift(image, result, Math.max(radius, 1), limit, edges);
  return result;
}

/** Write the colour at which each pixel ends, moving in place and colour to local means. */
function shift(
  { width, height, data }: RgbImage,
  result: RgbImage,
  radius: number,
  limit: number,
  mask: Uint8Array | null,
): void {
  for (let pixel = 0; pixel < width * height; pixel++) {
    if (mask && !mask[pixel]) continue;
    let x = pixel % width;
    let y = (pixel - x) / width;
    let [red, green, blue] = data.subarray(3 * pixel, 3 * pixel + 3);
    for (let step = 0; step < MAX_STEPS; step++) {
      const left = Math.max(roundHalfEven(x - radius), 0);
      const top = Math.max(roundHalfEven(y - radius), 0);
      const right = Math.min(roundHalfEven(x + radius), width - 1);
      const bottom = Math.min(roundHalfEven(y + radius), height - 1);
      let count = 0;
      let [sumX, sumY, sumRed, sumGreen, sumBlue] = [0, 0, 0, 0, 0];
      for (let row = top; row <= bottom; row++) {
        let i = 3 * (row * width + left);
        for (let column = left; column <= right; column++, i += 3) {
          const [r, g, b] = [data[i] - red, data[i + 1] - green, data[i + 2] - blue];
          if (r * r + g * g + b * b > limit) continue;
          sumRed += data[i];
          sumGreen += data[i + 1];
          sumBlue += data[i + 2];
          sumX += column;
          sumY += row;
          count++;
        }
      }
      if (!count) break;
      const nextX = roundHalfEven(sumX / count);
      const nextY = roundHalfEven(sumY / count);
      const nextRed = roundHalfEven(sumRed / count);
      const nextGreen = roundHalfEven(sumGreen / count);
      const nextBlue = roundHalfEven(sumBlue / count);
      const stays = x === nextX && y === nextY;
      const change =
        Math.abs(nextX - x) +
        Math.abs(nextY - y) +
        (nextRed - red) ** 2 +
        (nextGreen - green) ** 2 +
        (nextBlue - blue) ** 2;
      [x, y, red, green, blue] = [nextX, nextY, nextRed, nextGreen, nextBlue];
      if (stays || change <= MIN_SHIFT) break;
    }
    result.data[3 * pixel] = red;
    result.data[3 * pixel + 1] = green;
    result.data[3 * pixel + 2] = blue;
  }
}

/** Return where the filtered image of half the size has edges, at full size, and 1 px around. */
function edgesOf(small: RgbImage, { width, height }: RgbImage, limit: number): Uint8Array {
  const edges = new Uint8Array(width * height);
  const isEdge = (center: number): boolean => {
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const other = center + 3 * (dy * small.width + dx);
        let difference = 0;
        for (let i = 0; i < 3; i++) {
          difference += (small.data[center + i] - small.data[other + i]) ** 2;
        }
        if (difference >= limit) return true;
      }
    }
    return false;
  };
  for (let y = 1; y < small.height - 1; y++) {
    for (let x = 1; x < small.width - 1; x++) {
      if (!isEdge(3 * (y * small.width + x))) continue;
      for (const pixel of pixelsAround(2 * x - 1, 2 * y + 1, 1, width, height)) edges[pixel] = 1;
    }
  }
  return edges;
}

/** Return an image of half the size, rounded up, smoothed by the binomial filter of 5 px. */
function halve(image: RgbImage): RgbImage {
  const [width, height] = [image.width, image.height].map((side) => Math.ceil(side / 2));
  const weights = [1, 4, 6, 4, 1];
  const data = new Uint8Array(3 * width * height);
  const columns = new Int32Array(3 * width * image.height); // filtered along rows
  const at = (index: number, length: number): number[] =>
    weights.map((_, i) => mirror(2 * index + i - 2, length));
  for (let x = 0; x < width; x++) {
    const sources = at(x, image.width);
    for (let y = 0; y < image.height; y++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let i = 0; i < 5; i++) {
          sum += weights[i] * image.data[3 * (y * image.width + sources[i]) + channel];
        }
        columns[3 * (y * width + x) + channel] = sum;
      }
    }
  }
  for (let y = 0; y < height; y++) {
    const sources = at(y, image.height);
    for (let i = 0; i < 3 * width; i++) {
      let sum = 0;
      for (let j = 0; j < 5; j++) sum += weights[j] * columns[3 * width * sources[j] + i];
      data[3 * width * y + i] = (sum + 128) >> 8;
    }
  }
  return { width, height, data };
}

/** Return an image enlarged to a size whose half, rounded up, it has; smoothed as by `halve`. */
function double(image: RgbImage, width: number, height: number): RgbImage {
  const data = new Uint8Array(3 * width * height);
  const columns = new Int32Array(3 * width * image.height); // enlarged along rows
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < width; x++) {
      for (const [source, weight] of sourcesOf(x, image.width)) {
        for (let channel = 0; channel < 3; channel++) {
          columns[3 * (y * width + x) + channel] +=
            weight * image.data[3 * (y * image.width + source) + channel];
        }
      }
    }
  }
  for (let y = 0; y < height; y++) {
    const sources = sourcesOf(y, image.height);
    for (let i = 0; i < 3 * width; i++) {
      let sum = 32;
      for (const [source, weight] of sources) sum += weight * columns[3 * width * source + i];
      data[3 * width * y + i] = sum >> 6;
    }
  }
  return { width, height, data };
}

/** Return the indices that an index of twice the length comes from, with weights of sum 8. */
function sourcesOf(index: number, length: number): [number, number][] {
  const half = Math.floor(index / 2);
  const next = mirror(2 * half + 2, 2 * length) >> 1; // beyond the end, the last
  if (index % 2) return [[half, 4], [next, 4]];
  return [[mirror(2 * half - 2, 2 * length) >> 1, 1], [half, 6], [next, 1]];
}
