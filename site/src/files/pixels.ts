// Pixels made upright.

import type { Image } from "../types.ts";
import type { Turn } from "./turning.ts";

const TILE = 64; // side in px of what is copied at once, for the processor's cache

/** Return an image after its orientation is applied; in place if its sides stay. */
export function uprightPixels(image: Image, { orientation, swapsSides }: Turn): Image {
  const { width, height, pixels } = image;
  if (orientation === 1) return { width, height, pixels };
  const words = new Uint32Array(pixels.buffer, pixels.byteOffset, width * height);
  if (orientation === 3) words.reverse();
  if (orientation === 2) for (let y = 0; y < height; y += 1) row(words, y, width).reverse();
  if (orientation === 4) swapRows(words, width, height);
  if (!swapsSides) return { width, height, pixels };
  const output = new Uint8ClampedArray(4 * width * height);
  const target = new Uint32Array(output.buffer);
  const flipsX = orientation === 7 || orientation === 8;
  const flipsY = orientation === 6 || orientation === 7;
  for (let top = 0; top < height; top += TILE) {
    for (let left = 0; left < width; left += TILE) {
      const [bottom, right] = [Math.min(top + TILE, height), Math.min(left + TILE, width)];
      for (let x = left; x < right; x += 1) {
        const line = (flipsX ? width - 1 - x : x) * height;
        for (let y = top; y < bottom; y += 1) {
          target[line + (flipsY ? height - 1 - y : y)] = words[y * width + x];
        }
      }
    }
  }
  return { width: height, height: width, pixels: output };
}

const row = (words: Uint32Array, y: number, width: number): Uint32Array =>
  words.subarray(y * width, (y + 1) * width);

function swapRows(words: Uint32Array, width: number, height: number): void {
  for (let y = 0; y < height >> 1; y += 1) {
    const upper = row(words, y, width);
    const lower = row(words, height - 1 - y, width);
    const copy = upper.slice();
    upper.set(lower);
    lower.set(copy);
  }
}
