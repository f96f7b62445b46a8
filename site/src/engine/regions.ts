// Parts of an image of about one colour, found with the windows that OpenCV has.

import type { RgbImage } from "./mean_shift.ts";

const CHAMFER = [1, 1.4, 2.1969].map((distance) => Math.round(distance * 65536)); // a, b and c

/**
 * Label the parts of an image whose pixels hardly differ from their neighbours.
 *
 * Parts that only a narrow bridge connects are two.
 *
 * @param flat Largest difference, 0 to 255, of a pixel from those left of and above it.
 * @returns The number of each pixel's part, from 1, row by row; 0: none. And the count of parts.
 */
export function labelFlatParts(
  image: RgbImage,
  flat: number,
): { labels: Int32Array; count: number } {
  const { width, height } = image;
  const isFlat = Uint8Array.from({ length: width * height }, (_, pixel) =>
    changeAt(image, pixel % width, Math.floor(pixel / width)) <= flat ? 1 : 0,
  );
  const eroded = filterSquares(isFlat, width, height, Math.min);
  return labelParts(filterSquares(eroded, width, height, Math.max), width, height);
}

/** Return the largest range of a channel in a square of 2 px whose lower right pixel is given. */
function changeAt({ width, data }: RgbImage, x: number, y: number): number {
  const pixels: number[] = [];
  for (let row = Math.max(0, y - 1); row <= y; row++) {
    for (let column = Math.max(0, x - 1); column <= x; column++) pixels.push(row * width + column);
  }
  return Math.max(
    ...[0, 1, 2].map((channel) => {
      const values = pixels.map((pixel) => data[3 * pixel + channel]);
      return Math.max(...values) - Math.min(...values);
    }),
  );
}

/** Return the minimum or maximum of the square of 5 px around each pixel. */
function filterSquares(
  values: Uint8Array,
  width: number,
  height: number,
  choose: (first: number, second: number) => number,
): Uint8Array {
  const filter = (source: Uint8Array, step: number, length: number): Uint8Array =>
    source.map((value, pixel) => {
      const place = Math.floor(pixel / step) % length;
      for (let i = Math.max(-2, -place); i <= Math.min(2, length - 1 - place); i++) {
        value = choose(value, source[pixel + i * step]);
      }
      return value;
    });
  return filter(filter(values, 1, width), width, height);
}

/** Number the parts of a mask that are connected by sides of pixels. */
function labelParts(
  mask: Uint8Array,
  width: number,
  height: number,
): { labels: Int32Array; count: number } {
  const labels = new Int32Array(width * height);
  let count = 0;
  mask.forEach((isSet, first) => {
    if (!isSet || labels[first]) return;
    labels[first] = ++count;
    const waiting = [first];
    const visit = (pixel: number): void => {
      if (!mask[pixel] || labels[pixel]) return;
      labels[pixel] = count;
      waiting.push(pixel);
    };
    for (let pixel = waiting.pop(); pixel !== undefined; pixel = waiting.pop()) {
      if (pixel % width > 0) visit(pixel - 1);
      if (pixel % width < width - 1) visit(pixel + 1);
      if (pixel >= width) visit(pixel - width);
      if (pixel < width * (height - 1)) visit(pixel + width);
    }
  });
  return { labels, count };
}

/**
 * Return the distance in px of each pixel of a mask from the pixels outside, also of the image.
 *
 * Steps to pixels of the 5x5 px around are added up (Borgefors 1986), so that it is up to 2 % off.
 */
export function distanceInside(mask: Uint8Array, width: number, height: number): Float32Array {
  const stride = width + 4; // two more pixels at each side
  const start = 2 * stride + 2;
  const distances = new Int32Array(stride * (height + 4));
  const [straight, diagonal, long] = CHAMFER;
  // Pixels above and to the left; those below and to the right have the opposite offsets.
  const steps = [
    [-2 * stride - 1, long],
    [-2 * stride + 1, long],
    [-stride - 2, long],
    [-stride - 1, diagonal],
    [-stride, straight],
    [-stride + 1, diagonal],
    [-stride + 2, long],
    [-1, straight],
  ];
  const relax = (x: number, y: number, direction: 1 | -1): void => {
    const place = start + y * stride + x;
    if (!mask[y * width + x]) return;
    for (const [offset, step] of steps) {
      const distance = distances[place + direction * offset] + step;
      if (distance < distances[place]) distances[place] = distance;
    }
  };
  for (let y = 0; y < height; y++) {
    const row = start + y * stride;
    distances.fill(0x3fffffff, row, row + width);
    for (let x = 0; x < width; x++) {
      if (mask[y * width + x]) relax(x, y, 1);
      else distances[row + x] = 0;
    }
  }
  const result = new Float32Array(width * height);
  for (let y = height - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--) {
      relax(x, y, -1);
      result[y * width + x] = distances[start + y * stride + x] / 65536;
    }
  }
  return result;
}
