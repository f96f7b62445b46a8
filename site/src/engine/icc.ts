// ICC profiles: curves and a matrix become a `ColorSpace`, as of `photochrom.color.icc`.

import { type ColorSpace, PhotoError } from "../types.ts";
import { SRGB } from "./color.ts";

/** Return the colour space of a profile; null: sRGB. */
export function parseProfile(icc: Uint8Array | null, _isGrey: boolean): ColorSpace {
  if (icc === null) return SRGB;
  throw new PhotoError("colour profiles cannot be used yet; convert the photo to sRGB");
}
