// Hints as the network's second input, and their colours in its output.
// As photochrom.colorize.hinting, which says why.

import { PhotoError, type ColorSpace, type PlacedHint, type Planes } from "../types.ts";
import { limitChroma } from "./gamut.ts";
import { hintRgb } from "./hints.ts";
import { rgbToLab } from "./lab.ts";
import { mean, mirror, pixelsAround, roundHalfEven } from "./numbers.ts";
import { resizeArea, resizeLinear } from "./resize.ts";
import { solveGrid } from "./sparse.ts";

const PATCH_REACH = 3; // px from the centre of a hint's square in the network's input to its sides
const MAX_STEP = 10; // L*, from the centre: what differs more is something else
const SIDE = 96; // px, short side at which colours are spread
const SIGMA_L = 3; // L*: a walk rarely takes larger steps, after smoothing
const SIGMA_AB = 3; // likewise, of the network's ab without hints
const MIN_CONDUCTANCE = 1e-4; // across the strongest edge
const REACH = 0.8; // of the short side: how far a walk gets where there are no edges
const BELONGS = [0.2, 0.8]; // probability of arrival: from no fill to all of it
const FOLLOWS = [0, 0.3]; // likewise, for the network's own change
const FLATNESS = 0.6; // of the fill: the hinted colour itself; the rest keeps the network's detail
const PENALTY = 100; // of the conductance to a hint; others are at most 1
const SMOOTH_RADIUS = 2; // px, of the bilateral filter of L*
const SMOOTH_SIGMA_L = 8;
const SMOOTH_SIGMA = 1.5; // px

/** Hints at the size of the network's input. */
export interface DrawnHints {
  /** Its second input: a*, b* and a mask, constant on each square; count 3. */
  known: Planes;
  /** The colour that each pixel of a square is to get; count 2. */
  ab: Planes;
  /** 1 where `ab` holds: pixels of a square that are about as light as its centre. */
  mask: Uint8Array;
}

/**
 * Return a square for each hint; where squares overlap, the nearest hint counts.
 *
 * @param L L*, count 1.
 * @param ownAb The photo's own ab, count 2; null: it has none.
 * @param space An RGB space, to whose gamut colours are mapped at the photo's L*.
 * @throws {PhotoError} If a hint asks for the photo's own colour, and it has none.
 */
export function drawHints(
  hints: readonly PlacedHint[],
  L: Planes,
  ownAb: Planes | null,
  space: ColorSpace,
): DrawnHints {
  const { width, height } = L;
  const size = width * height;
  const known = makePlanes(3, width, height);
  const drawnAb = makePlanes(2, width, height);
  const mask = new Uint8Array(size);
  const distances = new Float32Array(size).fill(Infinity);
  for (const hint of hints) {
    const centerX = Math.min(Math.floor(hint.x * width), width - 1);
    const centerY = Math.min(Math.floor(hint.y * height), height - 1);
    const square = pixelsAround(centerX, centerY, PATCH_REACH, width, height);
    const centerL = L.data[centerY * width + centerX];
    const isAlike = square.map((pixel) => Math.abs(L.data[pixel] - centerL) < MAX_STEP);
    const alike = square.filter((_, i) => isAlike[i]);
    const [askedA, askedB] = hintAb(hint.color) ?? ownColor(ownAb, alike);
    const count = square.length;
    const asked = new Float32Array(2 * count).fill(askedA, 0, count).fill(askedB, count);
    const ab = limitChroma(space, Float32Array.from(square, (pixel) => L.data[pixel]), asked);
    const [meanA, meanB] = [0, count].map((start) =>
      mean(square.flatMap((_, i) => (isAlike[i] ? [ab[start + i]] : []))),
    );
    square.forEach((pixel, i) => {
      const x = pixel % width;
      const distance = (x - centerX) ** 2 + ((pixel - x) / width - centerY) ** 2;
      if (distance > distances[pixel]) return;
      distances[pixel] = distance;
      known.data[pixel] = meanA;
      known.data[size + pixel] = meanB;
      known.data[2 * size + pixel] = 1;
      drawnAb.data[pixel] = ab[i];
      drawnAb.data[size + pixel] = ab[count + i];
      mask[pixel] = isAlike[i] ? 1 : 0;
    });
  }
  return { known, ab: drawnAb, mask };
}

/** Return the error of a grey photo that is asked for its own colour. */
function noOriginalError(): PhotoError {
  return new PhotoError(
    "a hint asks for the photo's original colour, but this photo is grey and has none; give a " +
      "colour, or neutral",
  );
}

/**
 * Return ab that has the colours of hints at their places, and fills what belongs to them.
 *
 * What belongs to a hint is found by random walks, which hardly cross edges of L* or of the
 * network's colours, and may end anywhere: by the probability that a walk from a pixel arrives at a
 * hint (Grady 2006, "Random Walks for Image Segmentation"). Where it is high, the pixel gets the
 * mean colour of the hints at which walks arrive. Where it is low, it keeps the colour that it has
 * without hints.
 *
 * @param L L*, count 1.
 * @param unhintedAb The network's ab without hints, count 2.
 * @param hintedAb Its ab with hints.
 */
export function propagateHints(
  L: Planes,
  unhintedAb: Planes,
  hintedAb: Planes,
  drawn: DrawnHints,
): Planes {
  const { width, height } = L;
  const size = width * height;
  const scale = Math.max(1, Math.min(width, height) / SIDE);
  const smallWidth = Math.max(1, roundHalfEven(width / scale));
  const smallHeight = Math.max(1, roundHalfEven(height / scale));
  const wanted = makePlanes(3, width, height); // ab on hints, and their mask
  for (let i = 0; i < size; i++) {
    if (!drawn.mask[i]) continue;
    wanted.data[i] = drawn.ab.data[i] - (1 - FLATNESS) * hintedAb.data[i];
    wanted.data[size + i] = drawn.ab.data[size + i] - (1 - FLATNESS) * hintedAb.data[size + i];
    wanted.data[2 * size + i] = 1;
  }
  const solution = walk(
    smooth(resizeArea(L, smallWidth, smallHeight)),
    resizeArea(unhintedAb, smallWidth, smallHeight),
    resizeArea(wanted, smallWidth, smallHeight),
  );
  const { data: filled } = resizeLinear(solution, width, height);
  const ab = makePlanes(2, width, height);
  for (let i = 0; i < size; i++) {
    const arrival = filled[2 * size + i];
    const follows = smoothStep(arrival, FOLLOWS);
    const belongs = smoothStep(arrival, BELONGS);
    for (let j = i; j < 2 * size; j += size) {
      const [plain, hinted] = [unhintedAb.data[j], hintedAb.data[j]];
      const fill = filled[j] / Math.max(arrival, 1e-9);
      ab.data[j] = drawn.mask[i]
        ? drawn.ab.data[j]
        : plain + (hinted - plain) * follows + (fill - FLATNESS * hinted) * belongs;
    }
  }
  return ab;
}

/**
 * Return for each pixel the expected value of where its random walk ends, 0 if not at a hint.
 *
 * @param L Smoothed L*, count 1; with `ab`, walks hardly cross its edges.
 * @param wanted Values of hints times their share of the pixel, and this share, count 3.
 */
function walk(L: Planes, ab: Planes, wanted: Planes): Planes {
  const { width, height } = L;
  const size = width * height;
  const conductance = (i: number, j: number): number => {
    const squares =
      ((L.data[i] - L.data[j]) / SIGMA_L) ** 2 +
      ((ab.data[i] - ab.data[j]) / SIGMA_AB) ** 2 +
      ((ab.data[size + i] - ab.data[size + j]) / SIGMA_AB) ** 2;
    return Math.exp(-0.5 * squares) + MIN_CONDUCTANCE;
  };
  const right = new Float64Array(size);
  const below = new Float64Array(size);
  const end = 1 / (REACH * Math.min(width, height)) ** 2;
  const diagonal = Float64Array.from(
    wanted.data.subarray(2 * size),
    (share) => PENALTY * share + end,
  );
  for (let i = 0; i < size; i++) {
    if (i % width < width - 1) {
      right[i] = conductance(i, i + 1);
      diagonal[i] += right[i];
      diagonal[i + 1] += right[i];
    }
    if (i < size - width) {
      below[i] = conductance(i, i + width);
      diagonal[i] += below[i];
      diagonal[i + width] += below[i];
    }
  }
  const values = [0, size, 2 * size].map((start) =>
    Float64Array.from(wanted.data.subarray(start, start + size), (value) => PENALTY * value),
  );
  solveGrid(width, height, diagonal, right, below, values);
  const solution = makePlanes(3, width, height);
  values.forEach((plane, index) => solution.data.set(plane, index * size));
  return solution;
}

/** Return L* without grain, by a bilateral filter; beyond the edges it is mirrored. */
function smooth(L: Planes): Planes {
  const { width, height } = L;
  const smoothed = makePlanes(1, width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const center = L.data[y * width + x];
      let [sum, weights] = [0, 0];
      for (let dy = -SMOOTH_RADIUS; dy <= SMOOTH_RADIUS; dy++) {
        const row = mirror(y + dy, height) * width;
        for (let dx = -SMOOTH_RADIUS; dx <= SMOOTH_RADIUS; dx++) {
          const distance = dx * dx + dy * dy;
          if (distance > SMOOTH_RADIUS * SMOOTH_RADIUS) continue;
          const value = L.data[row + mirror(x + dx, width)];
          const step = (value - center) / SMOOTH_SIGMA_L;
          const weight = Math.exp(-0.5 * (distance / SMOOTH_SIGMA ** 2 + step * step));
          sum += weight * value;
          weights += weight;
        }
      }
      smoothed.data[y * width + x] = sum / weights;
    }
  }
  return smoothed;
}

/** Return a* and b* of a hint's colour, which the photo's L* may not allow; null: original. */
function hintAb(color: string): [number, number] | null {
  if (color === "original") return null;
  const rgb = hintRgb(color);
  if (!rgb) return [0, 0]; // neutral
  const [, a, b] = rgbToLab(rgb[0] / 255, rgb[1] / 255, rgb[2] / 255);
  return [a, b];
}

function ownColor(ownAb: Planes | null, pixels: number[]): [number, number] {
  if (!ownAb) throw noOriginalError();
  const { width, height, data } = ownAb;
  return [
    mean(pixels.map((pixel) => data[pixel])),
    mean(pixels.map((pixel) => data[width * height + pixel])),
  ];
}

/** Rise from 0 at `low` to 1 at `high`. */
function smoothStep(x: number, [low, high]: number[]): number {
  const t = Math.min(Math.max((x - low) / (high - low), 0), 1);
  return t * t * (3 - 2 * t);
}

const makePlanes = (count: number, width: number, height: number): Planes => ({
  count,
  width,
  height,
  data: new Float32Array(count * width * height),
});
