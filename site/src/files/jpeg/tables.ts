// Quantization tables for the result of a JPEG (ISO/IEC 10918-1, section A.3.4): 64 steps by rows.
//
// Coefficients that are quantized again with their own steps lose next to nothing. That needs the
// same blocks of about the same grey values; where they differ, the steps have to be finer.

import type { Look } from "../../types.ts";
import { ORIENTATIONS } from "../turning.ts";
import type { JpegHeader } from "./header.ts";

const BLOCK = 8; // side of a block in px
const MAX_STEP = 255; // in a baseline JPEG
/** Quality of the coarsest table. Then mean |dL*| is .1 to .3, as of an upright photo. */
const [OTHER_BLOCKS, OTHER_VALUES] = [98, 75];
/** Sum of the steps from which their errors grow with new colours: quality 20 and less. */
const COARSE = 8000;
/** EXIF orientation to the sides of the file, width 0 and height 1, that are reversed. */
const FLIPPED: Record<number, readonly number[]> = {
  ...{ 2: [0], 3: [0, 1], 4: [1], 6: [1], 7: [0, 1], 8: [0] },
};
/** ISO/IEC 10918-1, table K.1. */
export const LUMINANCE = [
  ...[16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55],
  ...[14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62],
  ...[18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92],
  ...[49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99],
];
/** ISO/IEC 10918-1, table K.2. */
export const CHROMINANCE = [
  ...[17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99],
  ...[24, 26, 56, 99, 99, 99, 99, 99, 47, 66, ...Array<number>(38).fill(99)],
];

/** Steps for luma and for chroma. */
export type Tables = readonly [readonly number[], readonly number[]];

/** Return libjpeg's tables of a quality of at least 50. */
export const standardTables = (quality: number): Tables => [
  scale(LUMINANCE, quality),
  scale(CHROMINANCE, quality),
];

/**
 * Return the tables for luma and chroma of the result of a JPEG.
 *
 * The file's own chrominance table may be coarse, so that both are made from that of luma.
 *
 * @param orientation By EXIF, 1 to 8.
 * @param keepsValues Whether the result has the colour space of the file.
 */
export function resultTables(
  header: JpegHeader,
  orientation: number,
  keepsValues: boolean,
  look: Pick<Look, "turn" | "straighten" | "crop">,
): Tables {
  const own = header.tables.get(header.components[0]?.table);
  if (!own) return [Array<number>(64).fill(1), Array<number>(64).fill(1)];
  const size = [header.width, header.height];
  const upright = orientation >= 5 ? size.toReversed() : size;
  let table = turned(
    own.map((step) => Math.max(1, Math.min(step, MAX_STEP))),
    orientation,
  );
  if (!keepsBlocks(orientation, size)) {
    table = atLeast(table, OTHER_BLOCKS);
  } else if (!(keepsValues && header.hasLuma) || sum(table) > COARSE) {
    table = atLeast(table, OTHER_VALUES);
  }
  if (look.turn || look.straighten || look.crop) {
    const [left, top] = look.crop ?? [0, 0];
    const turn = ORIENTATIONS[look.turn];
    table = turned(table, turn);
    const isOnGrid = !look.straighten && left % BLOCK === 0 && top % BLOCK === 0;
    if (!isOnGrid || !keepsBlocks(turn, upright)) table = atLeast(table, OTHER_BLOCKS);
  }
  return [table, table];
}

/** Tell whether the upright photo has the blocks of the file, of a width and height in px. */
const keepsBlocks = (orientation: number, size: readonly number[]): boolean =>
  (FLIPPED[orientation] ?? []).every((side) => size[side] % BLOCK === 0);

/** Return the steps for the upright photo. */
const turned = (table: readonly number[], orientation: number): number[] =>
  orientation < 5
    ? [...table]
    : table.map((_, index) => table[(index % BLOCK) * BLOCK + Math.floor(index / BLOCK)]);

/** Return a table of the smaller steps of this and of libjpeg's for a quality above 50. */
function atLeast(table: readonly number[], quality: number): number[] {
  const standard = scale(LUMINANCE, quality);
  return table.map((step, index) => Math.max(1, Math.min(step, standard[index])));
}

const scale = (table: readonly number[], quality: number): number[] =>
  table.map((step) => Math.max(1, Math.floor((step * (200 - 2 * quality) + 50) / 100)));

const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);
