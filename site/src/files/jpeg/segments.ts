// Segments of a JPEG (ISO/IEC 10918-1, annex B), also of one with wrong lengths of segments.

import { type Bytes, find, join, toBinary, u16 } from "../bytes.ts";

export const APP0 = 0xe0;
export const COM = 0xfe;
export const APP14 = 0xee;
export const SOS = 0xda;
/** Bytes of one segment. */
export const MAX_CONTENT = 65533;

const SOI = 0xd8;
const EOI = 0xd9;
const FILL = 0xff;
const BETWEEN_SCANS = new Set([0xc4, 0xcc, 0xdb, 0xdc, 0xdd, SOS, COM]);

export interface Segment {
  marker: number;
  /** Of the marker in the file. */
  start: number;
  end: number;
}

const isApp = (marker: number) => marker >= 0xe0 && marker <= 0xef;

/** Tell whether a segment is a comment or of an application, but not Adobe's, of the transform. */
export const isMetadata = (marker: number): boolean =>
  marker === COM || (isApp(marker) && marker !== APP14);

/**
 * Return the segments of the image that starts at `start`.
 *
 * The last item is the rest of the file: from the start of the scan on (marker SOS), or from where
 * the data are damaged (0). A segment of metadata whose length leads to no further one ends where
 * the next ones start.
 */
export function locateSegments(data: Uint8Array, start = 0): Segment[] {
  const segments: Segment[] = [];
  let position = start + 2;
  while (position + 4 <= data.length && data[position] === 0xff) {
    const marker = data[position + 1];
    if (marker === FILL) {
      position += 1;
      continue;
    }
    if (marker === SOS || !canHaveSegment(marker)) break;
    let end = position + 2 + u16(data, position + 2);
    let following = end;
    if ((isMetadata(marker) || marker === APP14) && !isBoundary(data, end)) {
      const found = findSegments(data, position + 4);
      if (found !== null) {
        const between = data.subarray(end, Math.max(end, found));
        const isPadded = end <= found && between.every((byte) => byte === 0 || byte === 0xff);
        [end, following] = [isPadded ? end : found, found];
      }
    }
    segments.push({ marker, start: position, end: Math.min(end, data.length) });
    position = following;
  }
  const isScan = data[position] === 0xff && data[position + 1] === SOS;
  const rest = Math.min(position, data.length);
  segments.push({ marker: isScan ? SOS : 0, start: rest, end: data.length });
  return segments;
}

/** Tell whether a segment has the length that it claims. */
export const isIntact = (segment: Uint8Array): boolean =>
  segment.length >= 4 && segment.length === 2 + u16(segment, 2);

/** Return the bytes of a segment; `content` has at most `MAX_CONTENT`. */
export function makeSegment(marker: number, ...content: Uint8Array[]): Bytes {
  const size = content.reduce((sum, part) => sum + part.length, 2);
  return join([Uint8Array.of(0xff, marker, size >> 8, size & 255), ...content]);
}

/** Return a name of a segment to a reader, such as `APP12 (Ducky)`. */
export function describeSegment(segment: Uint8Array): string {
  const name = `APP${segment[1] - APP0}`;
  const identifier = /^[ -~]{2,40}/u.exec(toBinary(segment.subarray(4, 44)));
  return identifier ? `${name} (${identifier[0]})` : name;
}

/** Return the place of the next marker between the data of scans, -1 if there is none. */
export function nextMarker(data: Uint8Array, start: number): number {
  let at = data.indexOf(0xff, start);
  while (at >= 0 && at + 1 < data.length) {
    const marker = data[at + 1];
    if (marker !== 0 && marker !== FILL && !(marker >= 0xd0 && marker <= 0xd7)) return at;
    at = data.indexOf(0xff, at + 1);
  }
  return -1;
}

/** Return where the image that starts at `start` ends, behind its EOI or at the end of `data`. */
export function findImageEnd(data: Uint8Array, start = 0): number {
  const scan = locateSegments(data, start).at(-1)!;
  if (scan.marker !== SOS) return data.length;
  let at = nextMarker(data, scan.start);
  while (at >= 0) {
    const marker = data[at + 1];
    if (marker === EOI) return at + 2;
    if (marker === SOI) return at; // another image: this one is cut off
    const isSegment = BETWEEN_SCANS.has(marker) || isApp(marker);
    at = nextMarker(data, at + 2 + (isSegment ? u16(data, at + 2) : 0));
  }
  return data.length;
}

function canHaveSegment(marker: number): boolean {
  return marker >= 0xc0 && marker !== FILL && !(marker >= 0xd0 && marker <= EOI);
}

/** Tell whether a segment can end here. */
function isBoundary(data: Uint8Array, position: number): boolean {
  if (data[position] !== 0xff || position + 1 === data.length) return false;
  const marker = data[position + 1];
  return canHaveSegment(marker) || marker === FILL || marker === EOI;
}

/** Return where the next segments start, passing over images such as thumbnails. */
function findSegments(data: Uint8Array, start: number): number | null {
  const limit = Math.min(start + 2 * MAX_CONTENT, data.length);
  let at = data.indexOf(0xff, start);
  while (at >= 0 && at + 1 < limit) {
    const marker = data[at + 1];
    if (marker === SOI && data[at + 2] === 0xff) {
      const end = find(data, "\xff\xd9", at + 3, limit);
      at = data.indexOf(0xff, end >= 0 ? end + 2 : at + 3);
      continue;
    }
    const canStart = (marker >= 0xc0 && marker <= 0xcf) || (marker >= SOS && marker <= COM);
    if (canStart && startsSegments(data, at)) return at;
    at = data.indexOf(0xff, at + 1);
  }
  return null;
}

/** Tell whether three segments follow each other, or up to the start of a scan. */
function startsSegments(data: Uint8Array, start: number): boolean {
  let position = start;
  for (let count = 0; count < 3; count += 1) {
    while (data[position] === 0xff && data[position + 1] === 0xff) position += 1;
    if (position + 4 > data.length || data[position] !== 0xff) return false;
    const marker = data[position + 1];
    const length = u16(data, position + 2);
    if (marker === SOS) return length === 6 + 2 * (data[position + 4] ?? 0);
    if (!canHaveSegment(marker) || length < 2) return false;
    position += 2 + length;
  }
  return true;
}
