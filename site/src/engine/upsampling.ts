// Edge-aware upsampling of ab: colours end at the edges of L*, not of low-resolution pixels. As of
// `photochrom.colorize.upsampling`, which says where the constants are from.

import type { Planes } from "../types.ts";
import { boxFilter, resizeArea, resizeLinear } from "./resize.ts";

/** L* for upsampling has at most this many times the sides of the network's input. */
export const ZOOM = 3;
const EPSILON = 50; // (L*)^2: regularization of the guided filter
const RADIUS = 1; // px, of the windows of the guided filter
const SIGMA = 1.7; // L*: diffusion nearly stops at larger differences between neighbours
const RATE = 0.45; // of diffusion; from 0.5 on it oscillates
const SWEEPS = 3; // diffusion steps along rows and columns between two corrections
const ROUNDS = 4; // corrections, not counting the last

/**
 * Upsample ab, as local lines ab = slope * L* + offset that follow the edges of L*.
 *
 * @param L L* of the photo, shape (1, zoom * h, zoom * w) with an integer zoom.
 * @param ab The network's output, shape (2, h, w).
 * @returns Slopes of a* and b*, then offsets, shape (4, zoom * h, zoom * w). They can be enlarged
 *   further bilinearly.
 */
export function fitLines(L: Planes, ab: Planes): Planes {
  const isEnlarged = L.width !== ab.width || L.height !== ab.height;
  return guidedFilter(L, isEnlarged ? upsample(L, ab) : ab);
}

/** Return ab of lines for L* of their size, shape (2, h, w). */
export function applyLines(lines: Planes, L: Planes): Planes {
  const { width, height, data } = lines;
  const lightness = L.data;
  const size = width * height;
  const values = new Float32Array(2 * size);
  for (let i = 0; i < 2 * size; i++) {
    values[i] = data[i] * lightness[i < size ? i : i - size] + data[2 * size + i];
  }
  return { count: 2, width, height, data: values };
}

/** Return one of several planes, as a view. */
function planeOf(planes: Planes, index: number): Planes {
  const size = planes.width * planes.height;
  return { ...planes, count: 1, data: planes.data.subarray(index * size, (index + 1) * size) };
}

/**
 * Enlarge ab to the size of L* by diffusion within areas of similar L*.
 *
 * A low-resolution pixel on an edge has the mean of two colours. Diffusion alternates with
 * back-projection (Irani and Peleg 1991), which restores the mean of ab over each low-resolution
 * pixel. So the mean separates into the two colours. Grain adds no colour, it only slows down
 * diffusion.
 */
function upsample(L: Planes, ab: Planes): Planes {
  const { width, height } = L;
  const smallL = resizeArea(L, ab.width, ab.height);
  const lines = resizeLinear(guidedFilter(smallL, ab), width, height);
  const result = applyLines(lines, L);
  const right = diffusivity(L, 1);
  const below = diffusivity(L, width);
  for (let index = 0; index < ab.count; index++) {
    const plane = planeOf(result, index);
    const target = planeOf(ab, index).data;
    for (let remaining = ROUNDS; remaining >= 0; remaining--) {
      const error = resizeArea(plane, ab.width, ab.height);
      subtractFrom(target, error.data);
      add(plane.data, resizeLinear(error, width, height).data);
      for (let sweep = 0; remaining > 0 && sweep < SWEEPS; sweep++) {
        diffuseRows(plane, right);
        diffuseColumns(plane, below);
      }
    }
  }
  return result;
}

/** Replace values by what they lack of a target. */
function subtractFrom(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i] = target[i] - values[i];
}

/** Add values to others, in place. */
function add(values: Float32Array, changes: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i] += changes[i];
}

/** Return the share of a difference in ab that flows from each pixel to that `step` later. */
function diffusivity(L: Planes, step: number): Float32Array {
  const { width, height, data } = L;
  const share = new Float32Array(data.length);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (step === 1 ? x === width - 1 : y === height - 1) continue; // nothing flows out
      const difference = data[i + step] - data[i];
      share[i] = RATE * Math.exp((difference * difference * -0.5) / (SIGMA * SIGMA));
    }
  }
  return share;
}

/** Let values flow between neighbours in rows, in place. */
function diffuseRows({ width, height, data }: Planes, share: Float32Array): void {
  for (let y = 0, i = 0; y < height; y++) {
    let flow = 0; // from the pixel before
    for (let x = 0; x < width - 1; x++, i++) {
      const change = (data[i + 1] - data[i]) * share[i];
      data[i] += change - flow;
      flow = change;
    }
    data[i++] -= flow;
  }
}

/** Let values flow between neighbours in columns, in place. */
function diffuseColumns({ width, height, data }: Planes, share: Float32Array): void {
  const flow = new Float32Array(width); // from the row before
  const last = (height - 1) * width;
  for (let start = 0; start < last; start += width) {
    for (let x = 0, i = start; x < width; x++, i++) {
      const change = (data[i + width] - data[i]) * share[i];
      data[i] += change - flow[x];
      flow[x] = change;
    }
  }
  for (let x = 0; x < width; x++) data[last + x] -= flow[x];
}

/**
 * Fit ab = slope * L* + offset around every pixel.
 *
 * This is the fast guided filter (He and Sun 2015) with one change: the offset is not blurred, but
 * chosen such that each line goes through its own pixel. The published filter blurs ab: where ab
 * was reduced 2 to 4 times, its error is larger than that of bilinear interpolation.
 *
 * @returns Slopes of a* and b*, then offsets, shape (4, h, w).
 */
function guidedFilter(L: Planes, ab: Planes): Planes {
  const { width, height } = L;
  const size = width * height;
  const lightness = L.data;
  const meanL = boxFilter(L, RADIUS).data;
  const weight = boxFilter(product(L, L), RADIUS).data; // 1 / (variance + EPSILON)
  for (let i = 0; i < size; i++) {
    weight[i] = 1 / (Math.max(weight[i] - meanL[i] * meanL[i], 0) + EPSILON);
  }
  const lines = new Float32Array(4 * size);
  for (let index = 0; index < 2; index++) {
    const plane = planeOf(ab, index);
    const values = plane.data;
    const slopes = boxFilter(product(plane, L), RADIUS);
    const covariance = slopes.data;
    const mean = boxFilter(plane, RADIUS).data;
    for (let i = 0; i < size; i++) {
      covariance[i] = (covariance[i] - mean[i] * meanL[i]) * weight[i]; // now the slope
    }
    const slope = boxFilter(slopes, RADIUS).data;
    lines.set(slope, index * size);
    const offsets = lines.subarray((2 + index) * size, (3 + index) * size);
    for (let i = 0; i < size; i++) offsets[i] = values[i] - slope[i] * lightness[i];
  }
  return { count: 4, width, height, data: lines };
}

function product(first: Planes, second: Planes): Planes {
  const data = first.data.slice();
  const factors = second.data;
  for (let i = 0; i < data.length; i++) data[i] *= factors[i];
  return { ...first, data };
}
