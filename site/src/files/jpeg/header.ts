// The header of a JPEG's image, and its tables (ISO/IEC 10918-1, sections B.2.2 and B.2.4).

import { type Bytes, hasAt, u16 } from "../bytes.ts";
import { APP0, APP14, SOS, locateSegments } from "./segments.ts";

const DQT = 0xdb;
const NO_FRAMES = [0xc4, 0xc8, 0xcc];
const JPEG_LS = 0xf7;
const ADOBE_TRANSFORM = 15; // offset in the segment
/** Order in which a table is stored: place in the file to place row by row. */
const ZIGZAG = [
  ...[0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34],
  ...[27, 20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37],
  ...[44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63],
];

export interface Component {
  id: number;
  verticalSampling: number;
  table: number;
}

export interface JpegHeader {
  /** Of the frame: 0xC0 is baseline, 0xC2 progressive. */
  marker: number;
  bits: number;
  width: number;
  height: number;
  components: Component[];
  /** By number: 64 steps, row by row. */
  tables: Map<number, number[]>;
  /** Whether the first component is luma, as opposed to red. */
  hasLuma: boolean;
}

/** Read the header of a JPEG's image, passing over its metadata; null if there is none. */
export function readHeader(data: Bytes): JpegHeader | null {
  let frame: Bytes | null = null;
  let hasJfif = false;
  let transform: number | null = null;
  const tables = new Map<number, number[]>();
  for (const { marker, start, end } of locateSegments(data)) {
    const segment = data.subarray(start, end);
    if (marker === SOS) break;
    if (marker === 0) frame ??= findFrame(segment);
    else if (marker === DQT) readTables(segment, tables);
    else if (isFrame(marker) && segment.length >= 10) frame ??= segment;
    else if (marker === APP0 && hasAt(segment, "JFIF\0", 4)) hasJfif = true;
    else if (marker === APP14 && hasAt(segment, "Adobe", 4)) {
      transform = segment[ADOBE_TRANSFORM] ?? null;
    }
  }
  if (!frame) return null;
  const components = Array.from({ length: frame[9] }, (_, index) => {
    const [id = 0, sampling = 0, table = 0] = frame.subarray(10 + 3 * index);
    return { id, verticalSampling: sampling & 15, table };
  });
  const isRgb = String(components.map(({ id }) => id)) === "82,71,66"; // "RGB"
  const isLuma =
    components.length === 1 || hasJfif || (transform === null ? !isRgb : transform > 0);
  return {
    marker: frame[1],
    bits: frame[4],
    width: u16(frame, 7),
    height: u16(frame, 5),
    components,
    tables,
    hasLuma: [1, 3].includes(components.length) && isLuma,
  };
}

function isFrame(marker: number): boolean {
  const isStart = marker >= 0xc0 && marker <= 0xcf && !NO_FRAMES.includes(marker);
  return isStart || marker === JPEG_LS;
}

/** Return the header of a frame behind damaged segments, which a decoder passes over too. */
function findFrame(data: Bytes): Bytes | null {
  for (let at = data.indexOf(0xff); at >= 0; at = data.indexOf(0xff, at + 1)) {
    const count = data[at + 9] ?? 0;
    if (isFrame(data[at + 1]) && count <= 4 && u16(data, at + 2) === 8 + 3 * count) {
      return data.subarray(at, at + 10 + 3 * count);
    }
  }
  return null;
}

function readTables(segment: Bytes, tables: Map<number, number[]>): void {
  let at = 4;
  while (at < segment.length) {
    const size = segment[at] >> 4 ? 2 : 1;
    if (at + 1 + 64 * size > segment.length) return;
    const table: number[] = Array.from({ length: 64 });
    ZIGZAG.forEach((place, index) => {
      const start = at + 1 + index * size;
      table[place] = size === 2 ? u16(segment, start) : segment[start];
    });
    tables.set(segment[at] & 15, table);
    at += 1 + 64 * size;
  }
}
