// What can be decoded of a JPEG that is cut off.
//
// The file is ended so that a decoder takes it, and the rows that it does not have become white:
// white takes no colour, and cannot be mistaken for a part of the photo.

import type { Image } from "../../types.ts";
import { type Bytes, join, u16, withoutZeros } from "../bytes.ts";
import { SOS, locateSegments, nextMarker } from "./segments.ts";

const PROGRESSIVE = [0xc2, 0xca];
const FRAMES = [0xc0, 0xc1, ...PROGRESSIVE, 0xc9];
const [SOI, EOI] = [0xd8, 0xd9];
const BLOCK = 8;
/** Rows of blocks that libjpeg fills from their neighbours, in a progressive JPEG. */
const SMOOTHED_ROWS = 2;
const GREY = 128; // what libjpeg writes where data are missing
const PADDING = 1024; // bytes of zeros from which they are no data, but what a program reserved
/** Orientation to where the last rows of the file are in the upright photo. */
const SIDES: Record<number, string> = {
  ...{ 3: "at the top", 4: "at the top", 5: "on the right", 8: "on the right" },
  ...{ 6: "on the left", 7: "on the left" },
};

/** A JPEG that is cut off, ended. */
export interface Part {
  data: Bytes;
  /** Pixels that are encoded together. */
  rowHeight: number;
  /** Further rows of `rowHeight` that may hold what a decoder made up. */
  unsureRows: number;
}

/** Tell whether a file ends in zeros in place of its data. */
export const isPadded = (data: Uint8Array): boolean =>
  data.length > PADDING && data.subarray(-PADDING).every((byte) => byte === 0);

/** Return a file without the zeros that a program reserved. */
export const withoutPadding = (data: Bytes): Bytes =>
  isPadded(data) ? withoutZeros(data) : data;

/** End a JPEG without EOI behind its last data; null if it is not cut off, or has no data. */
export function findPart(file: Bytes): Part | null {
  const data = withoutPadding(file);
  const segments = locateSegments(data);
  const scan = segments.pop()!;
  const found = segments.find(({ marker }) => FRAMES.includes(marker));
  const frame = found ? data.subarray(found.start, found.end) : new Uint8Array();
  if (scan.marker !== SOS || frame.length < Math.max(12, 10 + 3 * frame[9])) return null;
  let end = data.length;
  let at = nextMarker(data, scan.start);
  while (at >= 0) {
    const marker = data[at + 1];
    if (marker === EOI) return null;
    const following = at + 2 + u16(data, at + 2);
    if (marker === SOI || following > data.length) {
      end = at; // of another image, or of a segment that is cut off
      break;
    }
    at = nextMarker(data, following);
  }
  const samplings = Array.from({ length: frame[9] }, (_, index) => frame[11 + 3 * index] & 15);
  return {
    data: join([data.subarray(0, end), Uint8Array.of(0xff, EOI)]),
    rowHeight: BLOCK * Math.max(...(samplings.length > 1 ? samplings : [1])),
    unsureRows: PROGRESSIVE.includes(frame[1]) ? SMOOTHED_ROWS : 0,
  };
}

/**
 * Return the rows of a decoded part that are whole: those before the grey at its end.
 *
 * The row of blocks before the grey counts as missing, as its end may be.
 */
export function findRows({ width, height, pixels }: Image, part: Part): number {
  const words = new Uint32Array(pixels.buffer, pixels.byteOffset, width * height);
  const last = words[words.length - 1];
  const channels = [...pixels.subarray(-4, -1)];
  const lastRow = Math.floor((height - 1) / part.rowHeight);
  // Colours of the row above reach into the first half.
  const inner = Math.min(lastRow * part.rowHeight + part.rowHeight / 2, height - 1);
  const isGrey = (start: number, end: number) =>
    words.subarray(start, end).every((word) => word === last);
  const ends = Array.from({ length: height - inner }, (_, index) => (inner + index + 1) * width);
  const endsInGrey = ends.every((end) => isGrey(end - Math.min(width, BLOCK / 2), end));
  if (channels.some((value) => Math.abs(value - GREY) > 1) || !endsInGrey) return height;
  let start = height;
  while (start > 0 && isGrey((start - 1) * width, start * width)) start -= 1;
  const row = start === height ? lastRow : Math.floor(start / part.rowHeight) - 1;
  return Math.max(0, row - part.unsureRows) * part.rowHeight;
}

/** Make the rows of an image white from one on, in place. */
export function fillWhite({ width, pixels }: Image, row: number): void {
  pixels.fill(255, 4 * width * row);
}

/** Return what is missing of a file of which a share can be decoded, a phrase. */
export function describePart(share: number, orientation: number): string {
  if (share >= 1) return "the file is cut off: fine detail may be missing";
  return (
    `the file is cut off: ${Math.round(100 * (1 - share))} % of the photo, ` +
    `${SIDES[orientation] ?? "at the bottom"}, are missing and left white`
  );
}
