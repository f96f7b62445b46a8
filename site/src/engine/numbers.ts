// Rounding, statistics and indices beyond the ends, as NumPy and OpenCV have them.

/** Return the nearest whole number, of two the even one. */
export function roundHalfEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/** Return the sum. */
export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

/** Return the mean. */
export const mean = (values: ArrayLike<number>): number => sum(values) / values.length;

/** Return a percentile, interpolated between the nearest values. */
export function percentile(values: ArrayLike<number>, percent: number): number {
  const sorted = Float64Array.from(values).sort();
  const place = ((sorted.length - 1) * percent) / 100;
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

/** Return what lines through points, given by rising x and y, have at x; constant beyond them. */
export function interpolate(x: number, xs: readonly number[], ys: readonly number[]): number {
  const i = xs.findIndex((each) => each > x);
  if (i === 0) return ys[0];
  if (i < 0) return ys[ys.length - 1];
  return ys[i - 1] + ((ys[i] - ys[i - 1]) * (x - xs[i - 1])) / (xs[i] - xs[i - 1]);
}

/** Return the index that one beyond the ends is mirrored to, at the first and last value. */
export function mirror(index: number, length: number): number {
  if (length === 1) return 0;
  while (index < 0 || index >= length) index = index < 0 ? -index : 2 * (length - 1) - index;
  return index;
}

/** Return the indices of the pixels of a square around a pixel, cut off at the edges. */
export function pixelsAround(
  x: number,
  y: number,
  reach: number,
  width: number,
  height: number,
): number[] {
  const pixels = [];
  for (let row = Math.max(0, y - reach); row <= Math.min(height - 1, y + reach); row++) {
    for (let column = Math.max(0, x - reach); column <= Math.min(width - 1, x + reach); column++) {
      pixels.push(row * width + column);
    }
  }
  return pixels;
}
