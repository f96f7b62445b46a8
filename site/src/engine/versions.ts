// Versions of a photo that differ where the model is uncertain, made by hinting those places.
// As photochrom.colorize.versions.

import type { Hint, Look, PlacedHint, Planes } from "../types.ts";
import { SRGB } from "./color.ts";
import type { Colorizer, PreparedPhoto } from "./colorizer.ts";
import { originOf } from "./geometry.ts";
import { drawHints } from "./hinting.ts";
import { MAX_HINTS, placeHints } from "./hints.ts";
import { labToHex, labToRgb } from "./lab.ts";
import { filterMeanShift, type RgbImage } from "./mean_shift.ts";
import { interpolate, mean, roundHalfEven, sum } from "./numbers.ts";
import { distanceInside, labelFlatParts } from "./regions.ts";
import { resizeArea } from "./resize.ts";

const COUNT = 4;
/** Hue in degrees and chroma of what people paint: wine red, blue, green, ochre, purple. */
const PAINTS = [
  [25, 34],
  [275, 30],
  [150, 26],
  [75, 36],
  [325, 26],
];
const OTHER_HUE = 40; // degrees by which a paint differs from the colour that a region has already
const PLACES = [2, 1]; // hints in the most uncertain region, and in the next one
const VARIANTS: [scale: number, isMirrored: boolean][] = [
  [1, false],
  [1, true],
  [0.75, false],
  [1.33, true],
];
const MIN_AREA = 0.01; // fraction of the picture: smaller regions are left out
const MAX_AREA = 0.12; // larger ones count as this large
const MIN_SCORE = 0.2; // of a region: its uncertainty, times the root of its area
const FLAT = 6; // difference of neighbouring pixels, 0 to 255, within a region
const COLOR_RANGE = 18; // 0 to 255: mean shift keeps edges of more

/**
 * Return hints of up to four versions: those given, then those with others added.
 *
 * The added ones paint one or two regions, such as a dress, in different colours: regions where the
 * model's colours depend on the size at which it sees the photo, and on whether it is mirrored.
 * Skin, sky and leaves keep their colours. If there is no such region, or no room for more hints,
 * only those given are returned. The same arguments give the same versions.
 *
 * @param colorizer Its model takes hints.
 * @param prepared The photo, turned, straightened and cropped.
 * @param hints Of the photo as it is.
 * @param look How it was turned, straightened and cropped.
 * @param size Width and height in px of the upright photo.
 * @throws {PhotoError} If the crop reaches out of the photo, or a hint asks for the own colour of a
 *   photo that has none.
 */
export async function hintVersions(
  colorizer: Colorizer,
  prepared: PreparedPhoto,
  hints: Hint[],
  look: Look,
  size: [number, number],
): Promise<Hint[][]> {
  const placed = placeHints(hints, size, look);
  const predictions: Planes[] = [];
  for (const variant of VARIANTS) {
    predictions.push(await predictVariant(colorizer, prepared, placed, ...variant));
  }
  // A hint may not have reached all of its region.
  const regions = findRegions(prepared, predictions, placed).slice(0, PLACES.length);
  if (!regions.length || hints.length + sum(PLACES) > MAX_HINTS) return [hints];
  const places = regions.map((region, index) => region.places(PLACES[index]));
  const versions = [hints];
  for (let number = 0; number < COUNT - 1; number++) {
    const added = regions.flatMap((region, index) => {
      const ab = region.paint(number + index);
      return places[index].map((place) => toHint(prepared, place, ab, look, size));
    });
    versions.push([...hints, ...added]);
  }
  return versions;
}

/** Return the model's ab at a size and mirrored or not, of the shape for its own size. */
async function predictVariant(
  colorizer: Colorizer,
  prepared: PreparedPhoto,
  hints: PlacedHint[],
  scale: number,
  isMirrored: boolean,
): Promise<Planes> {
  const { width, height } = prepared.smallL;
  const w = Math.max(1, roundHalfEven(width * scale));
  const h = Math.max(1, roundHalfEven(height * scale));
  const L = scale === 1 ? prepared.smallL : resizeArea(prepared.L, w, h);
  const own = prepared.ownAb && resizeArea(prepared.ownAb, w, h);
  const known = hints.length ? drawHints(hints, L, own, SRGB).known : null;
  if (!isMirrored) return resizeArea(await colorizer.predictAb(L, known), width, height);
  const ab = await colorizer.predictAb(mirrored(L), known && mirrored(known));
  return resizeArea(mirrored(ab), width, height);
}

/** Return planes mirrored left to right. */
function mirrored(planes: Planes): Planes {
  const data = planes.data.slice();
  for (let i = 0; i < data.length; i += planes.width) data.subarray(i, i + planes.width).reverse();
  return { ...planes, data };
}

/** A part of one colour, such as a dress. */
class Region {
  readonly #mask: Uint8Array;
  readonly #width: number;
  readonly #height: number;
  readonly #L: number; // mean, like a and b
  readonly #hue: number; // degrees, 0 to 360
  readonly #chroma: number;
  readonly #uncertainty: number; // mean distance of the predictions from their mean, in ab
  readonly #area: number; // as a fraction of the picture
  /** How much of it lies at the rim of the picture, 0 to 1: a background. */
  readonly #rim: number;

  constructor(
    mask: Uint8Array,
    width: number,
    height: number,
    [L, a, b, uncertainty]: number[],
  ) {
    [this.#mask, this.#width, this.#height] = [mask, width, height];
    [this.#L, this.#uncertainty] = [L, uncertainty];
    this.#chroma = Math.hypot(a, b);
    this.#hue = ((Math.atan2(b, a) * 180) / Math.PI + 360) % 360;
    const count = sum(mask);
    this.#area = count / mask.length;
    let rim = sum(mask.subarray(0, width)) + sum(mask.subarray(-width));
    for (let i = 0; i < mask.length; i += width) rim += mask[i] + mask[i + width - 1];
    this.#rim = Math.min(1, rim / (2 * Math.sqrt(count)));
  }

  /** How much another colour is worth to be seen; of a dark region or a background, less. */
  get score(): number {
    const seen = interpolate(this.#L, [10, 30], [0.3, 1]) * (1 - 0.8 * this.#rim);
    return seen * this.#uncertainty * Math.sqrt(Math.min(this.#area, MAX_AREA));
  }

  /** Whether everybody knows its colour: skin, sky, leaves, black and white. */
  get isKnown(): boolean {
    const [L, hue, chroma] = [this.#L, this.#hue, this.#chroma];
    // Light skin is pale; better a wall that keeps its colour than a green shoulder.
    const palest = interpolate(L, [45, 60], [12, 6]);
    const isSkin = 20 < hue && hue < 75 && chroma > palest && 35 < L && L < 95;
    const isLeaf = 85 < hue && hue < 175 && chroma > 7;
    const top = this.#mask.subarray(0, 2 * this.#width);
    const isSky =
      sum(top) / top.length > 0.1 && (L > 70 || (195 < hue && hue < 290 && chroma > 4));
    return isSkin || isLeaf || isSky || !(8 < L && L < 95);
  }

  /**
   * Return ab that differs from its own in hue; pale in a background, and if dark or light.
   *
   * @param number Of the paint, from 0; those after the last begin again.
   */
  paint(number: number): [number, number] {
    const paints = PAINTS.filter(([hue]) => {
      const turn = (((hue - this.#hue + 180) % 360) + 360) % 360;
      return this.#chroma < 10 || Math.abs(turn - 180) > OTHER_HUE;
    });
    const [degrees, most] = paints[number % paints.length];
    const share = interpolate(this.#L, [0, 15, 35, 60, 85, 97], [0.3, 0.6, 1, 1, 0.6, 0.3]);
    const background = Math.max(this.#rim, Math.min(1, 3 * this.#area));
    const chroma = most * share * (1 - 0.6 * background);
    const hue = (degrees * Math.PI) / 180;
    return [chroma * Math.cos(hue), chroma * Math.sin(hue)];
  }

  /** Return column and row of up to `count` places inside of it, far from each other. */
  places(count: number): [number, number][] {
    const width = this.#width;
    const inside = Float64Array.from(distanceInside(this.#mask, width, this.#height));
    const places: [number, number][] = [];
    for (let i = 0; i < count; i++) {
      const pixel = inside.reduce((best, value, j) => (value > inside[best] ? j : best), 0);
      if (inside[pixel] < 1) break;
      const [x, y] = [pixel % width, Math.floor(pixel / width)];
      places.push([x, y]);
      inside.forEach((value, j) => {
        const distance = Math.hypot((j % width) - x, Math.floor(j / width) - y);
        inside[j] = Math.min(value, distance / 2);
      });
    }
    return places;
  }
}

/** Return uncertain regions without hints, the most uncertain first. */
function findRegions(
  prepared: PreparedPhoto,
  predictions: Planes[],
  hints: PlacedHint[],
): Region[] {
  const { smallL, unhintedAb } = prepared;
  const { width, height, data: L } = smallL;
  const size = width * height;
  const radius = Math.max(2, Math.floor(Math.min(height, width) / 28));
  const image = filterMeanShift(toRgb(smallL, unhintedAb), radius, COLOR_RANGE);
  const { labels, count } = labelFlatParts(image, FLAT);
  const values = [L, ...spreadOf(predictions)];
  const areas = new Int32Array(count + 1);
  const sums = values.map(() => new Float64Array(count + 1));
  labels.forEach((label, i) => {
    areas[label]++;
    values.forEach((each, j) => (sums[j][label] += each[i]));
  });
  const hinted = new Set(
    hints.map(({ x, y }) => labels[Math.floor(y * height) * width + Math.floor(x * width)]),
  );
  const regions = [];
  for (let label = 1; label <= count; label++) {
    if (hinted.has(label) || areas[label] < MIN_AREA * size) continue;
    const mask = Uint8Array.from(labels, (each) => Number(each === label));
    const means = sums.map((each) => each[label] / areas[label]);
    regions.push(new Region(mask, width, height, means));
  }
  return regions
    .filter((region) => !region.isKnown && region.score >= MIN_SCORE)
    .sort((first, second) => second.score - first.score);
}

/** Return of each pixel the means of a* and b*, and the mean distance of ab from its mean. */
function spreadOf(predictions: Planes[]): Float64Array[] {
  const size = predictions[0].width * predictions[0].height;
  const [a, b, distance] = [0, 1, 2].map(() => new Float64Array(size));
  for (let i = 0; i < size; i++) {
    a[i] = mean(predictions.map(({ data }) => data[i]));
    b[i] = mean(predictions.map(({ data }) => data[size + i]));
    const squares = predictions.map(
      ({ data }) => (data[i] - a[i]) ** 2 + (data[size + i] - b[i]) ** 2,
    );
    distance[i] = Math.sqrt(mean(squares));
  }
  return [a, b, distance];
}

/** Return the photo in colour, as 8 bits of sRGB. */
function toRgb(L: Planes, ab: Planes): RgbImage {
  const { width, height } = L;
  const size = width * height;
  const data = new Uint8Array(3 * size);
  for (let i = 0; i < size; i++) {
    const rgb = labToRgb(L.data[i], ab.data[i], ab.data[size + i]);
    rgb.forEach((value, channel) => (data[3 * i + channel] = roundHalfEven(255 * value)));
  }
  return { width, height, data };
}

/** Return a hint for a column and row of the network's input. */
function toHint(
  { width, height, smallL }: PreparedPhoto,
  [x, y]: [number, number],
  ab: [number, number],
  look: Look,
  size: [number, number],
): Hint {
  const { width: w, height: h, data } = smallL;
  const place = [((x + 0.5) / w) * width, ((y + 0.5) / h) * height] as const;
  const [column, row] = originOf(look, ...place, ...size);
  return { x: column, y: row, color: labToHex(data[y * w + x], ...ab) };
}
