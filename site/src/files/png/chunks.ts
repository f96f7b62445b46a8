// Chunks of a PNG: their layout, text in them, and those about pixels made right for new pixels.
//
// Follows PNG, third edition, and its register of extensions.

import { Unzlib, zlibSync } from "fflate";

import {
  type Bytes,
  crc32,
  endsWithSum,
  fromBinary,
  join,
  pack32,
  toBinary,
  u16,
  u32,
  utf8ToBinary,
} from "../bytes.ts";
import type { Turn } from "../turning.ts";

export const SIGNATURE = "\x89PNG\r\n\x1a\n";
export const COLOR_CHUNKS = ["gAMA", "cHRM", "sRGB", "cICP"];
export const TEXT_CHUNKS = ["tEXt", "zTXt", "iTXt"];

/** Colour types. */
export const [GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA] = [0, 2, 3, 4, 6];

const KEPT = [...COLOR_CHUNKS, ...TEXT_CHUNKS, "tIME", "sCAL", "sTER"];
const RAW_PROFILE = "raw profile type ";
const HEX_LINE = 72;
const MAX_INFLATED = 2 ** 26; // bytes of a profile or a text
const STEP = 1 << 14; // bytes that are decompressed at once
/** Colour type to the channels that sBIT counts. */
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 3, 4: 2, 6: 4 };

/** The chunk IHDR, and the palette. */
export interface Header {
  width: number;
  height: number;
  depth: number;
  colorType: number;
  isInterlaced: boolean;
  palette: Bytes;
}

export interface Chunk {
  name: string;
  /** Length, name, content, checksum; the last chunk maybe cut. */
  bytes: Bytes;
}

/** The content of tEXt, zTXt or iTXt. */
export interface Text {
  keyword: string;
  data: Bytes;
  /** Otherwise Latin-1. */
  isUtf8: boolean;
  /** It names a language. */
  isTranslated: boolean;
}

/** Return the chunks of a file; what follows the chunk IEND has the name "". */
export function readChunks(data: Bytes): Chunk[] {
  const chunks: Chunk[] = [];
  let start = SIGNATURE.length;
  let name = "";
  while (start + 8 <= data.length && name !== "IEND") {
    const end = start + 12 + u32(data, start);
    name = toBinary(data.subarray(start + 4, start + 8));
    chunks.push({ name, bytes: data.subarray(start, end) });
    start = end;
  }
  if (start < data.length) chunks.push({ name: "", bytes: data.subarray(start) });
  return chunks;
}

/** Return the bytes of a chunk. */
export function makeChunk(name: string, ...content: Uint8Array[]): Bytes {
  const body = join([fromBinary(name), ...content]);
  return join([pack32(body.length - 4), body, pack32(crc32(body))]);
}

export const chunkName = (chunk: Bytes): string => toBinary(chunk.subarray(4, 8));

/** Return the content of an intact chunk. */
export const contentOf = (chunk: Bytes): Bytes => chunk.subarray(8, chunk.length - 4);

/** Tell whether a chunk is complete and has the right checksum. */
export const isIntact = (chunk: Bytes): boolean =>
  chunk.length === u32(chunk, 0) + 12 &&
  crc32(chunk.subarray(4, -4)) === u32(chunk, chunk.length - 4);

/** Decompress a profile or a text; null if the data are damaged, empty or too long. */
export function inflate(data: Bytes): Bytes | null {
  const parts: Uint8Array[] = [];
  let length = 0;
  const stream = new Unzlib((part) => {
    parts.push(part);
    length += part.length;
  });
  try {
    for (let start = 0; start < data.length && length <= MAX_INFLATED; start += STEP) {
      stream.push(data.subarray(start, start + STEP));
    }
  } catch {
    return null; // fflate throws errors of several types
  }
  if (!length || length > MAX_INFLATED) return null;
  const inflated = join(parts);
  return endsWithSum(data, inflated) ? inflated : null;
}

/** Read IHDR, the first chunk, and the palette. */
export function readHeader(data: Bytes): Header {
  const palette = readChunks(data).find(({ name }) => name === "PLTE")?.bytes;
  return {
    width: u32(data, 16),
    height: u32(data, 20),
    depth: data[24] ?? 0,
    colorType: data[25] ?? 0,
    isInterlaced: data[28] === 1,
    palette: palette && data[25] === PALETTE ? contentOf(palette) : new Uint8Array(),
  };
}

/** Return the content of a text chunk, null of others and of damaged ones. */
export function readText(chunk: Bytes): Text | null {
  const name = chunkName(chunk);
  const content = contentOf(chunk);
  const end = content.indexOf(0);
  const keyword = toBinary(content.subarray(0, end < 0 ? content.length : end));
  const rest = end < 0 ? new Uint8Array() : content.subarray(end + 1);
  if (name === "tEXt") return { keyword, data: rest, isUtf8: false, isTranslated: false };
  if (name === "zTXt") {
    const data = inflate(rest.subarray(1));
    return data && { keyword, data, isUtf8: false, isTranslated: false };
  }
  if (name !== "iTXt") return null;
  const language = rest.indexOf(0, 2);
  const translated = rest.indexOf(0, language + 1);
  if (language < 0 || translated < 0) return null;
  const text = rest.subarray(translated + 1);
  const data = rest[0] === 1 ? inflate(text) : text;
  return data && { keyword, data, isUtf8: true, isTranslated: translated > 3 };
}

/** Return a text chunk: tEXt if the text is Latin-1, else iTXt. */
export function makeText(keyword: string, text: string): Bytes {
  const isLatin = [...text].every((character) => character <= "\xff");
  return isLatin
    ? makeChunk("tEXt", fromBinary(`${keyword}\0${text}`))
    : makeChunk("iTXt", fromBinary(`${keyword}\0\0\0\0\0${utf8ToBinary(text)}`));
}

/** Return kind and content of a profile in ImageMagick's form, null if it is none or damaged. */
export function readRawProfile({ keyword, data }: Text): [string, Bytes] | null {
  if (!keyword.toLowerCase().startsWith(RAW_PROFILE)) return null;
  const [, , length, ...lines] = toBinary(data).split("\n");
  const digits = lines.join("").replace(/[ \t\r\f\v]/gu, "");
  if (!/^[0-9a-f]*$/iu.test(digits) || Number(length) !== digits.length / 2) return null;
  const content = new Uint8Array(digits.length / 2);
  content.forEach((_, index) => {
    content[index] = parseInt(digits.slice(2 * index, 2 * index + 2), 16);
  });
  return [keyword.slice(RAW_PROFILE.length).toLowerCase(), content];
}

/** Return a zTXt with a profile in ImageMagick's form: kind, length and hexadecimal digits. */
export function makeRawProfile(kind: string, content: Bytes): Bytes {
  const digits = Array.from(content, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const lines = digits.match(new RegExp(`.{1,${HEX_LINE}}`, "gu")) ?? [];
  const text = ["", kind, String(content.length).padStart(8), ...lines, ""].join("\n");
  const keyword = fromBinary(`Raw profile type ${kind}\0\0`);
  return makeChunk("zTXt", keyword, zlibSync(fromBinary(text)));
}

/**
 * Return an ancillary chunk for pixels in any colours; null if it is about the old ones alone.
 *
 * sBIT gets four channels, and bKGD becomes RGB of 16 bits. `fitChunk` makes them right for a file.
 */
export function adaptChunk(chunk: Bytes, header: Header): Bytes | null {
  const name = chunkName(chunk);
  const content = contentOf(chunk);
  const isSafeToCopy = (chunk[4] & chunk[7] & 0x20) !== 0;
  if (KEPT.includes(name) || isSafeToCopy) return chunk;
  if (name === "sBIT") {
    const count = CHANNELS[header.colorType];
    const maximum = header.colorType === PALETTE ? 8 : header.depth;
    if (content.length === count && content.every((bits) => bits >= 1 && bits <= maximum)) {
      const [first] = content;
      const colors = count >= 3 ? [...content.subarray(0, 3)] : [first, first, first];
      return makeChunk(name, Uint8Array.of(...colors, count % 2 ? 0 : content[count - 1]));
    }
  }
  if (name === "bKGD") {
    const values = readBackground(content, header);
    if (values && Math.max(...values) <= 65535) {
      return makeChunk(name, Uint8Array.from(values.flatMap((value) => [value >> 8, value & 255])));
    }
  }
  return null;
}

/** Return a chunk from `adaptChunk` for a file of 8-bit RGB, with alpha or without. */
export function fitChunk(chunk: Bytes, hasAlpha: boolean): Bytes {
  const name = chunkName(chunk);
  const content = contentOf(chunk);
  if (name === "sBIT") {
    const bits = [...content.subarray(0, 3), ...(hasAlpha ? [content[3] || 8] : [])];
    return makeChunk(
      name,
      Uint8Array.from(bits, (count) => Math.min(count, 8)),
    );
  }
  if (name === "bKGD") {
    const values = [0, 2, 4].flatMap((at) => [0, content[at]]);
    return makeChunk(name, Uint8Array.from(values));
  }
  return chunk;
}

/** Return a chunk for the upright photo: width and height of a pixel are exchanged. */
export function turnChunk(chunk: Bytes, turn: Turn): Bytes {
  if (chunkName(chunk) !== "sCAL" || !turn.swapsSides) return chunk;
  const content = toBinary(contentOf(chunk));
  const [width, height = ""] = content.slice(1).split("\0");
  return makeChunk("sCAL", fromBinary(`${content[0]}${height}\0${width}`));
}

/** Return names of chunks to a reader, each once: the keyword of a text, or the chunk's name. */
export function describeChunks(chunks: readonly Bytes[]): string[] {
  const names = chunks.map((chunk) => {
    const text = readText(chunk);
    return text ? `text "${text.keyword}"` : chunkName(chunk);
  });
  return [...new Set(names)];
}

/** Return the background in RGB of 16 bits, null if the chunk is invalid. */
function readBackground(content: Bytes, { depth, colorType, palette }: Header): number[] | null {
  if (colorType === PALETTE) {
    const color = palette.subarray(3 * content[0], 3 * content[0] + 3);
    return content.length === 1 && color.length === 3 ? [...color].map((v) => 257 * v) : null;
  }
  if (content.length !== 2 && content.length !== 6) return null;
  const scale = Math.floor(65535 / (2 ** depth - 1 || 1));
  const values = [0, 2, 4].slice(0, content.length / 2).map((at) => scale * u16(content, at));
  return values.length === 1 ? [values[0], values[0], values[0]] : values;
}
