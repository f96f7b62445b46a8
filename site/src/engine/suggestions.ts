// Colours to suggest for a place in a photo. As photochrom.colorize.suggestions.

import type { Planes } from "../types.ts";
import { SRGB } from "./color.ts";
import type { PreparedPhoto } from "./colorizer.ts";
import { differenceAtEqualLightness } from "./difference.ts";
import { limitChroma } from "./gamut.ts";
import { labToHex } from "./lab.ts";
import { mean, pixelsAround } from "./numbers.ts";
import { resizeArea } from "./resize.ts";

export type Kind =
  | "model"
  | "hue"
  | "skin"
  | "hair"
  | "sky"
  | "foliage"
  | "wood"
  | "stone"
  | "cloth";

/** A colour for a place. */
export interface Suggestion {
  /** In sRGB, as #rrggbb, with the L* of the place. */
  color: string;
  /**
   * Why it is suggested: `model` is the model's own colour there, `hue` a neighbour of it in hue,
   * others what is often there.
   */
  kind: Kind;
}

type Ab = [number, number];

const COUNT = 6;
const MIN_DIFFERENCE = 8; // CIEDE2000 between any two, where the gamut at an L* has room for it
const REACH = 3; // px at the network's size: pixels whose mean colour is that of the place
const MAX_STEP = 10; // L*: pixels that differ more belong to something else
const NEIGHBORS = [40, -40, 80, -80]; // degrees of hue from the model's colour
const MIN_CHROMA = 12; // of the neighbours in hue, where the model sees grey
const CHROMA = 40; // of any hue, where the others do not differ enough
/** What is often there, with the lowest and highest L*, a* and b* that it is painted. */
const PAINTS: [Kind, number, number, number, number][] = [
  ["skin", 12, 32, 10, 12],
  ["skin", 32, 62, 16, 20],
  ["skin", 62, 95, 13, 17],
  ["hair", 5, 60, 6, 14],
  ["hair", 25, 85, 5, 24],
  ["sky", 45, 95, -5, -24],
  ["foliage", 10, 85, -16, 26],
  ["foliage", 10, 70, -8, 20],
  ["wood", 10, 80, 14, 28],
  ["stone", 20, 100, 1, 6],
  ["cloth", 5, 75, 8, -34],
  ["cloth", 5, 75, 42, 22],
  ["cloth", 10, 85, -24, 8],
  ["cloth", 10, 75, 20, -16],
];

/**
 * Return six different colours for a place, the model's own first.
 *
 * Near black and white there are fewer colours, and they differ less; those of black itself are all
 * black.
 *
 * @param ab The model's own, of any size, count 2, such as of `abOf`.
 * @param x Place as a fraction of the width, 0 to 1.
 * @param y Place as a fraction of the height, 0 to 1.
 */
export function suggestColors(
  prepared: PreparedPhoto,
  ab: Planes,
  x: number,
  y: number,
): Suggestion[] {
  const { width, height, data } = prepared.smallL;
  const { data: small } = resizeArea(ab, width, height);
  const column = Math.min(Math.floor(x * width), width - 1);
  const row = Math.min(Math.floor(y * height), height - 1);
  const L = data[row * width + column];
  const alike = pixelsAround(column, row, REACH, width, height).filter(
    (pixel) => Math.abs(data[pixel] - L) < MAX_STEP,
  );
  const own: Ab = [
    mean(alike.map((pixel) => small[pixel])),
    mean(alike.map((pixel) => small[width * height + pixel])),
  ];
  const chroma = Math.max(Math.hypot(...own), MIN_CHROMA);
  const hue = (Math.atan2(own[1], own[0]) * 180) / Math.PI;
  const distance = ([a, b]: Ab): number => Math.hypot(a - own[0], b - own[1]);
  const paints = PAINTS.filter(([, low, high]) => low <= L && L <= high)
    .map(([kind, , , a, b]): [Kind, Ab] => [kind, [a, b]])
    .sort(([, first], [, second]) => distance(first) - distance(second));
  const candidates: [Kind, Ab][] = [
    ["model", own],
    ...NEIGHBORS.map((turn): [Kind, Ab] => ["hue", fromHue(chroma, hue + turn)]),
    ...paints,
    ...Array.from({ length: 12 }, (_, i): [Kind, Ab] => ["hue", fromHue(CHROMA, 30 * i)]),
  ];
  const count = candidates.length;
  const stacked = [0, 1].flatMap((i) => candidates.map(([, color]) => color[i]));
  const limited = limitChroma(SRGB, new Float32Array(count).fill(L), stacked);
  const colors = candidates.map((_, i): Ab => [limited[i], limited[count + i]]);
  return choose(colors, NEIGHBORS.length, paints.length).map((i) => ({
    color: labToHex(L, ...colors[i]),
    kind: candidates[i][0],
  }));
}

/** Return a* and b* of a hue in degrees. */
function fromHue(chroma: number, hue: number): Ab {
  const angle = (hue * Math.PI) / 180;
  return [chroma * Math.cos(angle), chroma * Math.sin(angle)];
}

/**
 * Return indices of the model's colour, two neighbours in hue, the likeliest paint, and what
 * differs most.
 *
 * @param colors The model's own, its neighbours in hue, what is often there, the most similar to
 *   the model's colour first, and others.
 */
function choose(colors: Ab[], nearCount: number, paintCount: number): number[] {
  const chosen = [0];
  /** Return the least difference from the chosen colours. */
  const apart = (index: number): number =>
    Math.min(
      ...chosen.map((other) => differenceAtEqualLightness(...colors[index], ...colors[other])),
    );
  const near = range(1, 1 + nearCount);
  const paints = range(1 + nearCount, 1 + nearCount + paintCount);
  for (const [group, stop] of [[near, 3], [paints, 4]] as const) {
    for (const index of group) {
      if (chosen.length < stop && apart(index) >= MIN_DIFFERENCE) chosen.push(index);
    }
  }
  while (chosen.length < COUNT) {
    // In black all are equal.
    const differences = colors.map((_, i) => (chosen.includes(i) ? -1 : apart(i)));
    const best = farthest(paints, differences);
    chosen.push(
      differences[best] >= MIN_DIFFERENCE ? best : farthest(range(0, colors.length), differences),
    );
  }
  return chosen;
}

const range = (start: number, stop: number): number[] =>
  Array.from({ length: stop - start }, (_, i) => start + i);

/** Return the first index of the largest value; 0 if there are no indices. */
const farthest = (indices: number[], values: number[]): number =>
  indices.reduce((best, index) => (values[index] > values[best] ? index : best), indices[0] ?? 0);
