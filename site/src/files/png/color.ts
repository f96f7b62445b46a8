// Colours of a PNG without a profile: its chunks cICP, gAMA and cHRM.

import { PhotoError } from "../../types.ts";
import { u32 } from "../bytes.ts";
import { type Metadata, withProfile, withWarning } from "../metadata.ts";
import { chunkName, contentOf } from "./chunks.ts";

const UNSPECIFIED = 2;
const [BT709, SRGB_CURVE] = [1, 13]; // of ITU-T H.273
const WHITE_Y = 4; // offset in cHRM
/** x and y of white, red, green and blue. */
export const BT709_COLORS = [0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06];
/** Within it, an exponent of 2.2 stands for sRGB's curve, as in libpng. */
export const GAMMA_TOLERANCE = 0.05;
export const CHROMATICITY_TOLERANCE = 0.01;
const MAX_EXPONENT = 10;
export const ADVICE = "convert it to sRGB, or use the program photochrom (pip install photochrom)";

/**
 * Check the colours of a PNG by its chunks, and return its metadata without implausible ones.
 *
 * cICP comes before a profile, sRGB and a profile before gAMA and cHRM (PNG, third edition, section
 * 4.3). Throws a `PhotoError` if the colours are not sRGB's: the program makes a profile of them.
 */
export function checkColors(metadata: Metadata, name: string, isGrey: boolean): Metadata {
  const chunks = new Map(metadata.pngChunks.map((chunk) => [chunkName(chunk), contentOf(chunk)]));
  const refused = (what: string) =>
    new PhotoError(`${name}: the colours of the PNG are those of its ${what}; ${ADVICE}`);
  const codes = chunks.get("cICP");
  if (codes?.length === 4) {
    const [primaries, transfer, matrix, range] = codes;
    const isUnspecified = primaries === UNSPECIFIED && transfer === UNSPECIFIED;
    const isSrgb =
      (isGrey || [BT709, UNSPECIFIED].includes(primaries)) &&
      [SRGB_CURVE, UNSPECIFIED].includes(transfer);
    if (matrix !== 0 || range !== 1 || (!isUnspecified && !isSrgb)) throw refused("chunk cICP");
    if (!isUnspecified) return { ...withoutPrimaries(metadata, isGrey), icc: null };
  }
  if (metadata.icc || chunks.has("sRGB")) return metadata;
  const [gamma, colors] = [chunks.get("gAMA"), chunks.get("cHRM")];
  const exponent = gamma?.length === 4 && u32(gamma, 0) ? 100_000 / u32(gamma, 0) : null;
  const isPlausible =
    (!gamma || gamma.length === 4) &&
    (!colors || (colors.length === 32 && (isGrey || u32(colors, WHITE_Y) > 0))) &&
    (exponent === null || (exponent > 1 / MAX_EXPONENT && exponent < MAX_EXPONENT));
  if (!isPlausible) {
    return withWarning(
      withProfile(metadata, null),
      "the colours in gAMA and cHRM are not plausible and are dropped",
    );
  }
  if (exponent !== null && Math.abs(exponent / 2.2 - 1) >= GAMMA_TOLERANCE) {
    throw refused("chunk gAMA");
  }
  const isFar = (value: number, index: number) =>
    Math.abs(u32(colors!, 4 * index) / 100_000 - value) >= CHROMATICITY_TOLERANCE;
  if (colors && !isGrey && BT709_COLORS.some(isFar)) throw refused("chunk cHRM");
  return withoutPrimaries(metadata, isGrey);
}

/** Drop the chunks of primaries of grey, which its colours will not have. */
const withoutPrimaries = (metadata: Metadata, isGrey: boolean): Metadata => ({
  ...metadata,
  pngChunks: metadata.pngChunks.filter(
    (chunk) => !isGrey || !["cHRM", "cICP"].includes(chunkName(chunk)),
  ),
});
