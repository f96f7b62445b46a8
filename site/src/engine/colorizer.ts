// `Colorizer`: a photo's own L* with the ab that a network predicts, as of
// `photochrom.colorize.colorizer`.

import type { ColorSpace, Photo, PlacedHint, Planes } from "../types.ts";
import { ab, lightness, resultSpace } from "./color.ts";
import { drawHints, propagateHints } from "./hinting.ts";
import { type Network, noHintsError } from "./network.ts";
import { roundHalfEven } from "./numbers.ts";
import { checkOptions, MIN_SIDE } from "./options.ts";
import { reflect, resizeArea, resizePhotoArea, resizePhotoLinear } from "./resize.ts";
import { applyLines, fitLines, ZOOM } from "./upsampling.ts";

const MAX_ASPECT_RATIO = 4; // of a network's input

/** What predicting needs of a photo that was turned, straightened and cropped. */
export interface PreparedPhoto {
  /** Of the photo, in px. */
  width: number;
  height: number;
  /** L* for upsampling, shape (1, zoom * h, zoom * w). */
  L: Planes;
  /** L* for the network, shape (1, h, w). */
  smallL: Planes;
  /** The network's ab without hints, shape (2, h, w). */
  unhintedAb: Planes;
  /** The photo's own ab, shape (2, h, w); null: a photo of one channel. */
  ownAb: Planes | null;
}

/** Colorizes photos with one network. */
export class Colorizer {
  constructor(readonly network: Network) {}

  /**
   * Run the network without hints, and return what `predict` needs for any.
   *
   * @param photo A photo, turned, straightened and cropped already.
   * @param size Short side in px of the network's input; null: the network's own.
   *
   * Throws `PhotoError` if the size is out of range, and `ModelError` as `predictAb`.
   */
  async prepare(photo: Photo, size: number | null = null): Promise<PreparedPhoto> {
    checkOptions({ size });
    const { width, height } = photo;
    const [w, h] = this.inputSize(width, height, size);
    const zoom = Math.max(1, Math.min(ZOOM, Math.floor(height / h), Math.floor(width / w)));
    const L = lightness(resizePhoto(photo, zoom * w, zoom * h));
    const smallL = resizeArea(L, w, h);
    const ownAb = photo.isGrey ? null : ab(resizePhoto(photo, w, h));
    return { width, height, L, smallL, unhintedAb: await this.predictAb(smallL), ownAb };
  }

  /**
   * Return coefficients for `render`: slopes of a* and b* on L*, then offsets, at saturation 1.
   *
   * @param hints Of `placeHints`.
   * @param space Of the photo.
   *
   * Throws `PhotoError` if a hint asks for the own colour of a photo that has none, and
   * `ModelError` as `predictAb`.
   */
  async predict(
    prepared: PreparedPhoto, hints: readonly PlacedHint[], space: ColorSpace,
  ): Promise<Planes> {
    const { width, height, L, smallL } = prepared;
    const colors = await this.predictWithHints(prepared, hints, space);
    if (smallL.width * smallL.height < width * height) return fitLines(L, colors);
    const resized = resizeArea(colors, width, height);
    const data = new Float32Array(2 * resized.data.length);
    data.set(resized.data, resized.data.length);
    return { count: 4, width, height, data };
  }

  /** Return ab of the network's size, shape (2, h, w), so that hints have their colours. */
  async predictWithHints(
    { smallL, unhintedAb, ownAb }: PreparedPhoto, hints: readonly PlacedHint[], space: ColorSpace,
  ): Promise<Planes> {
    if (hints.length === 0) return unhintedAb;
    if (!this.network.takesHints) throw noHintsError(this.network.name);
    const drawn = drawHints(hints, smallL, ownAb, resultSpace(space));
    const hintedAb = await this.predictAb(smallL, drawn.known);
    return propagateHints(smallL, unhintedAb, hintedAb, drawn);
  }

  /** Return width and height in px of the network's input for a photo. */
  inputSize(width: number, height: number, size: number | null = null): [number, number] {
    return networkSize(width, height, size ?? this.network.size);
  }

  /**
   * Run the network on L*, shape (1, h, w), and known colours, shape (3, h, w).
   *
   * @returns a* and b*, shape (2, h, w).
   *
   * Throws `ModelError` as `Network.predict`.
   */
  async predictAb(L: Planes, known: Planes | null = null): Promise<Planes> {
    const { width, height } = L;
    const [w, h] = [Math.max(width, MIN_SIDE), Math.max(height, MIN_SIDE)];
    const predicted = await this.network.predict(extend(L, w, h), known && extend(known, w, h));
    return extend(predicted, width, height);
  }
}

/** Return ab that coefficients mean for a photo, shape (2, h, w). */
export function abOf(prepared: PreparedPhoto, coefficients: Planes): Planes {
  const { width, height } = coefficients;
  return applyLines(coefficients, resizeArea(prepared.L, width, height));
}

/**
 * Return width and height in px of a network's input for a photo.
 *
 * The aspect ratio is kept. Beyond `MAX_ASPECT_RATIO` the long side is limited, and the short side
 * becomes smaller than `shortSide`.
 */
export function networkSize(width: number, height: number, shortSide: number): [number, number] {
  const scale = Math.min(
    shortSide / Math.min(height, width),
    (MAX_ASPECT_RATIO * shortSide) / Math.max(height, width),
  );
  return [width, height].map((side) => Math.max(1, roundHalfEven(side * scale))) as [
    number,
    number,
  ];
}

/** Return a photo resized as training photos were. */
function resizePhoto(photo: Photo, width: number, height: number): Photo {
  let resized = photo;
  while (resized.height >= 4 * height && resized.height % 2 === 0 && resized.width % 2 === 0) {
    // Halving is cheap, and leaves a quarter of the pixels for the resize below.
    resized = resizePhotoArea(resized, resized.width / 2, resized.height / 2);
  }
  const shrinks = height * width < resized.width * resized.height;
  return (shrinks ? resizePhotoArea : resizePhotoLinear)(resized, width, height);
}

/** Return planes of a size: cut off on the right and below, or continued by reflection. */
function extend(planes: Planes, width: number, height: number): Planes {
  const { count, width: w, height: h } = planes;
  if (w === width && h === height) return planes;
  const data = new Float32Array(count * width * height);
  for (let i = 0, target = 0; i < count; i++) {
    for (let y = 0; y < height; y++) {
      const start = (i * h + reflect(y, h)) * w;
      for (let x = 0; x < width; x++, target++) data[target] = planes.data[start + reflect(x, w)];
    }
  }
  return { count, width, height, data };
}
