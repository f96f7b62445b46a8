// EXIF blocks, read and changed. Everything else stays as it is, and where it is.

import { type Bytes, hasAt } from "./bytes.ts";
import type { Density } from "./density.ts";
import type { Crop, Turn } from "./turning.ts";

/** What precedes the block in JPEG and WebP. */
export const PREFIX = "Exif\0\0";

const [WIDTH, HEIGHT, ORIENTATION, X_RESOLUTION, Y_RESOLUTION] = [256, 257, 274, 282, 283];
const [RESOLUTION_UNIT, EXIF_OFFSET] = [296, 34665];
const EXIF_SIDES = [40962, 40963];
const SUBJECTS = [41492, 37396]; // the location, the area
const KIND_SIZES: Record<number, number> = {
  ...{ 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4 },
};
const UNSIGNED_KINDS = [1, 3, 4, 13];
const RATIONAL = 5;
const UNITS: Record<number, Density[2]> = { 1: "", 2: "inch", 3: "cm" };

interface Field {
  kind: number;
  count: number;
  entryOffset: number;
  /** Of the values. */
  offset: number;
  size: number;
}

interface Directory {
  /** By tag; without those that lie outside of the block. */
  fields: Map<number, Field>;
  /** Where the offset of the next directory is stored. */
  linkOffset: number;
  nextOffset: number;
}

/** The directories of a block (TIFF 6.0, section 2). */
class Tiff {
  readonly view: DataView;
  readonly isLittle: boolean;
  readonly first: Directory;

  constructor(readonly block: Uint8Array) {
    this.view = new DataView(block.buffer, block.byteOffset, block.length);
    this.isLittle = hasAt(block, "II");
    this.first = this.readDirectory(this.view.getUint32(4, this.isLittle));
  }

  /** Read a directory; entries that are cut off are left out. A RangeError: there is none. */
  readDirectory(offset: number): Directory {
    const count = this.view.getUint16(offset, this.isLittle);
    const complete = Math.min(count, Math.floor((this.block.length - offset - 2) / 12));
    const fields = new Map<number, Field>();
    for (let index = 0; index < complete; index += 1) {
      const entryOffset = offset + 2 + 12 * index;
      const tag = this.view.getUint16(entryOffset, this.isLittle);
      const kind = this.view.getUint16(entryOffset + 2, this.isLittle);
      const values = this.view.getUint32(entryOffset + 4, this.isLittle);
      const size = values * (KIND_SIZES[kind] ?? 0);
      const place = entryOffset + 8;
      const at = size > 4 ? this.view.getUint32(place, this.isLittle) : place;
      if (size > 0 && at + size <= this.block.length && !fields.has(tag)) {
        fields.set(tag, { kind, count: values, entryOffset, offset: at, size });
      }
    }
    const linkOffset = offset + 2 + 12 * complete;
    const isCutOff = complete < count || linkOffset + 4 > this.block.length;
    const nextOffset = isCutOff ? 0 : this.view.getUint32(linkOffset, this.isLittle);
    return { fields, linkOffset, nextOffset };
  }

  /** Return the values of a field of unsigned integers, [] of another. */
  numbers(field: Field | undefined): number[] {
    if (!field || !UNSIGNED_KINDS.includes(field.kind)) return [];
    const size = KIND_SIZES[field.kind];
    return Array.from({ length: field.count }, (_, index) =>
      this.readNumber(field.offset + size * index, size),
    );
  }

  /** Return the offset and the directory of Exif, null if there is none or it is damaged. */
  exifDirectory(): [number, Directory] | null {
    const offsets = this.numbers(this.first.fields.get(EXIF_OFFSET));
    try {
      return offsets.length === 1 ? [offsets[0], this.readDirectory(offsets[0])] : null;
    } catch (error) {
      if (error instanceof RangeError) return null;
      throw error;
    }
  }

  /** Return the orientation that a field has, null if it is invalid. */
  orientation(): number | null {
    const numbers = this.numbers(this.first.fields.get(ORIENTATION));
    return numbers.length === 1 && numbers[0] >= 1 && numbers[0] <= 8 ? numbers[0] : null;
  }

  /** Tell whether a field has one unsigned integer. */
  isCount(field: Field | undefined): field is Field {
    return this.numbers(field).length === 1;
  }

  /** Replace the values of a field in a copy of the block, if the others fit into it. */
  write(output: Uint8Array, field: Field, numbers: readonly number[]): void {
    const size = field.size / field.count;
    if (numbers.some((number) => number >= 2 ** (8 * size))) return;
    const view = new DataView(output.buffer, output.byteOffset, output.length);
    numbers.forEach((number, index) => {
      const at = field.offset + size * index;
      if (size === 1) view.setUint8(at, number);
      else if (size === 2) view.setUint16(at, number, this.isLittle);
      else view.setUint32(at, number, this.isLittle);
    });
  }

  private readNumber(at: number, size: number): number {
    if (size === 1) return this.view.getUint8(at);
    return size === 2
      ? this.view.getUint16(at, this.isLittle)
      : this.view.getUint32(at, this.isLittle);
  }
}

/** Return a parsed block, null if it has no header or no directory. */
function parse(block: Uint8Array): Tiff | null {
  if (!hasAt(block, "II*\0") && !hasAt(block, "MM\0*")) return null;
  try {
    return new Tiff(block);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** Tell whether a block, without `PREFIX`, has a header and a directory. */
export const isValid = (block: Uint8Array): boolean => parse(block) !== null;

/** Return the orientation, 1 to 8; null if it is missing or invalid. */
export const readOrientation = (block: Uint8Array): number | null =>
  parse(block)?.orientation() ?? null;

/** Set orientation to 1, unlink the thumbnail, and turn sizes and the place of the subject. */
export function makeUpright(block: Bytes, turn: Turn): Bytes {
  const tiff = parse(block);
  if (!tiff) return block;
  const output = block.slice();
  const { fields, linkOffset, nextOffset } = tiff.first;
  if (tiff.orientation() !== null) tiff.write(output, fields.get(ORIENTATION)!, [1]);
  if (nextOffset) output.fill(0, linkOffset, linkOffset + 4);
  const pairs = [
    [fields.get(WIDTH), fields.get(HEIGHT)],
    [fields.get(X_RESOLUTION), fields.get(Y_RESOLUTION)],
  ];
  const exif = tiff.exifDirectory()?.[1].fields;
  if (exif) {
    pairs.push(EXIF_SIDES.map((tag) => exif.get(tag)));
    for (const subject of SUBJECTS.map((tag) => exif.get(tag))) {
      const numbers = tiff.numbers(subject);
      if (subject && numbers.length >= 2 && numbers.length <= 4) {
        tiff.write(output, subject, turn.moveSubject(numbers));
      }
    }
  }
  for (const [width, height] of turn.swapsSides ? pairs : []) {
    if (width && height) {
      // All of the entries but their tags.
      const [a, b] = [width.entryOffset + 2, height.entryOffset + 2];
      output.set(block.subarray(b, b + 10), a);
      output.set(block.subarray(a, a + 10), b);
      continue;
    }
    // A resolution is no count of pixels.
    if (tiff.isCount(width)) tiff.write(output, width, [turn.height]);
    if (tiff.isCount(height)) tiff.write(output, height, [turn.width]);
  }
  return output;
}

/** Set sizes in px, and move the place of the subject; it is removed if it is cut off. */
export function crop(block: Bytes, crop: Crop): Bytes {
  const tiff = parse(block);
  if (!tiff) return block;
  const output = block.slice();
  const pairs = [[tiff.first.fields.get(WIDTH), tiff.first.fields.get(HEIGHT)]];
  const [offset, directory] = tiff.exifDirectory() ?? [0, null];
  const removed: number[] = [];
  if (directory) {
    pairs.push(EXIF_SIDES.map((tag) => directory.fields.get(tag)));
    for (const tag of SUBJECTS) {
      const field = directory.fields.get(tag);
      const numbers = tiff.numbers(field);
      if (!field || numbers.length < 2 || numbers.length > 4) continue;
      const moved = crop.moveSubject(numbers);
      if (moved === null) removed.push(tag);
      else tiff.write(output, field, moved);
    }
  }
  for (const pair of pairs) {
    [crop.newWidth, crop.newHeight].forEach((side, index) => {
      const field = pair[index];
      if (tiff.isCount(field)) tiff.write(output, field, [side]);
    });
  }
  for (const tag of removed) removeEntry(output, offset, tag);
  return output;
}

/** Return the block without fields of its first directory; the same if it has none of them. */
export function removeFields(block: Bytes, tags: readonly number[]): Bytes {
  const tiff = parse(block);
  const removed = tags.filter((tag) => tiff?.first.fields.has(tag));
  if (!tiff || !removed.length) return block;
  const output = block.slice();
  for (const tag of removed) removeEntry(output, tiff.view.getUint32(4, tiff.isLittle), tag);
  return output;
}

/** Return pixels per `inch` or `cm`, or the ratio ``; null if they are missing or invalid. */
export function readDensity(block: Uint8Array): Density | null {
  const tiff = parse(block);
  if (!tiff) return null;
  const { fields } = tiff.first;
  const unit = UNITS[tiff.numbers(fields.get(RESOLUTION_UNIT))[0] ?? 2];
  const values = [X_RESOLUTION, Y_RESOLUTION].map((tag) => {
    const field = fields.get(tag);
    if (!field || field.kind !== RATIONAL || field.count !== 1) return 0;
    const [a, b] = [0, 4].map((at) => tiff.view.getUint32(field.offset + at, tiff.isLittle));
    return b ? a / b : 0;
  });
  return unit !== undefined && values[0] && values[1] ? [values[0], values[1], unit] : null;
}

/** Remove an entry of the directory at `start` of a valid block, in place. */
function removeEntry(output: Bytes, start: number, tag: number): void {
  const tiff = new Tiff(output);
  const { fields, linkOffset } = tiff.readDirectory(start);
  const field = fields.get(tag);
  const end = linkOffset + 4;
  if (!field || end > output.length) return;
  output.copyWithin(field.entryOffset, field.entryOffset + 12, end);
  output.fill(0, end - 12, end);
  const count = tiff.view.getUint16(start, tiff.isLittle);
  tiff.view.setUint16(start, count - 1, tiff.isLittle);
}
