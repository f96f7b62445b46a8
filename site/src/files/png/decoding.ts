// Decoding of PNGs of up to 8 bits for a channel.

import { Unzlib } from "fflate";

import { type Image, PhotoError } from "../../types.ts";
import { type Bytes, endsWithSum, join, u16, u32 } from "../bytes.ts";
import { withoutPadding } from "../jpeg/truncation.ts";
import {
  type Chunk,
  GREY,
  GREY_ALPHA,
  type Header,
  PALETTE,
  RGB,
  RGB_ALPHA,
  contentOf,
  isIntact,
  readChunks,
  readHeader,
} from "./chunks.ts";

const CHANNELS: Record<number, number> = {
  [GREY]: 1,
  [RGB]: 3,
  [PALETTE]: 1,
  [GREY_ALPHA]: 2,
  [RGB_ALPHA]: 4,
};
/** Bytes that are decompressed at once: of a file that is damaged, those with a fault are lost. */
const [STEP, SMALL_STEP] = [1 << 16, 1 << 12];
/** Left, top, and steps horizontally and vertically of the passes of Adam7. */
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

/** A decoded image, and how many of its rows the file has. */
export interface Decoded {
  image: Image;
  rows: number;
}

/** A file without all of its pixels, of which `decode` may read a part. */
export class CutOffError extends Error {}

/** Tell whether the colour type is one of grey. */
export const isGrey = ({ colorType }: Header): boolean =>
  colorType === GREY || colorType === GREY_ALPHA;

/** Read and check the header; a `PhotoError` says what is not supported. */
export function checkHeader(data: Bytes, name: string): Header {
  const header = readHeader(data);
  const [first] = readChunks(data);
  if (first?.name !== "IHDR" || !isIntact(first.bytes) || first.bytes.length !== 25) {
    throw new PhotoError(`${name} is a PNG whose header is damaged; save it again as PNG`);
  }
  const { width, height, depth, colorType } = header;
  const isAllowed =
    CHANNELS[colorType] !== undefined &&
    [1, 2, 4, 8, 16].includes(depth) &&
    (depth >= 8 || CHANNELS[colorType] === 1) &&
    !(colorType === PALETTE && depth === 16);
  if (!isAllowed || !width || !height || data[26] || data[27] || data[28] > 1) {
    throw new PhotoError(
      `${name} is a PNG of ${width}x${height} px with ${depth} bits of colour type ${colorType}, ` +
        "which the format does not have; save it again as PNG",
    );
  }
  return header;
}

/**
 * Decode a PNG.
 *
 * @param isPart Whether a file that is cut off is decoded as far as it goes, unless interlaced.
 *
 * Throws a `CutOffError` if it is not complete or damaged.
 */
export function decode(file: Bytes, header: Header, isPart: boolean): Decoded {
  const data = isPart ? withoutPadding(file) : file;
  const chunks = readChunks(data);
  const content = chunks
    .filter(({ name }) => name === "IDAT")
    .map(({ bytes }) => bytes.subarray(8, 8 + u32(bytes, 0)));
  const passes = header.isInterlaced ? PASSES : [[0, 0, 1, 1]];
  const sizes = passes.map(([left, top, across, down]) => ({
    width: Math.ceil((header.width - left) / across),
    height: Math.ceil((header.height - top) / down),
  }));
  const bits = header.depth * CHANNELS[header.colorType];
  const strides = sizes.map(({ width }) => 1 + Math.ceil((width * bits) / 8));
  const lengths = sizes.map(({ width, height }, index) =>
    width > 0 && height > 0 ? strides[index] * height : 0,
  );
  const size = lengths.reduce((sum, length) => sum + length, 0);
  const { bytes, fault } = inflate(content, size, isPart ? SMALL_STEP : STEP);
  if (fault && !isPart) throw new CutOffError(fault);
  const rows = header.isInterlaced ? header.height : Math.floor(bytes.length / strides[0]);
  const words = new Uint32Array(header.width * header.height);
  const convert = makeConverter(header, readTransparency(chunks));
  let start = 0;
  passes.forEach(([left, top, across, down], index) => {
    if (!lengths[index]) return;
    const stride = strides[index];
    let above: Uint8Array = new Uint8Array(stride - 1);
    for (let row = 0; row < Math.min(sizes[index].height, rows); row += 1) {
      const line = bytes.subarray(start + 1, start + stride);
      unfilter(bytes[start], line, above, Math.max(1, bits >> 3));
      const place = (top + row * down) * header.width + left;
      convert(line, sizes[index].width, words, place, across);
      above = line;
      start += stride;
    }
  });
  const pixels = new Uint8ClampedArray(words.buffer);
  return { image: { width: header.width, height: header.height, pixels }, rows };
}

interface Inflated {
  /** As many bytes as there are, up to the size that was asked for. */
  bytes: Bytes;
  /** Why there are not all of them, and null if there are. */
  fault: string | null;
}

/** Decompress up to a size, as far as possible, and check the sum of the data. */
function inflate(parts: readonly Bytes[], size: number, step: number): Inflated {
  const output = new Uint8Array(size);
  let length = 0;
  const stream = new Unzlib((chunk) => {
    output.set(chunk.subarray(0, Math.max(0, size - length)), length);
    length += chunk.length;
  });
  try {
    for (const part of parts) {
      for (let start = 0; start < part.length && length <= size; start += step) {
        stream.push(part.subarray(start, start + step));
      }
    }
  } catch (error) {
    // fflate throws errors of several types.
    const bytes = output.subarray(0, Math.min(length, size));
    return { bytes, fault: `its pixels are damaged: ${(error as Error).message}` };
  }
  if (length < size) {
    return { bytes: output.subarray(0, length), fault: "the last of its pixels are missing" };
  }
  // The sum is also one of what follows the pixels.
  const isWrong = length === size && !endsWithSum(join(parts.slice(-2)), output);
  return { bytes: output, fault: isWrong ? "its pixels are damaged: their sum is wrong" : null };
}

/** Undo the filter of a row in place (section 9); `step` is the bytes of a pixel. */
function unfilter(type: number, line: Uint8Array, above: Uint8Array, step: number): void {
  const { length } = line;
  if (type === 1) {
    for (let at = step; at < length; at += 1) line[at] += line[at - step];
  } else if (type === 2) {
    for (let at = 0; at < length; at += 1) line[at] += above[at];
  } else if (type === 3) {
    for (let at = 0; at < length; at += 1) {
      line[at] += ((at < step ? 0 : line[at - step]) + above[at]) >> 1;
    }
  } else if (type === 4) {
    for (let at = 0; at < step; at += 1) line[at] += above[at];
    for (let at = step; at < length; at += 1) {
      line[at] += paeth(line[at - step], above[at], above[at - step]);
    }
  } else if (type !== 0) {
    throw new CutOffError(`its pixels are damaged: there is no filter ${type}`);
  }
}

/** Return which of the neighbours left, above and left of that one is next to a + b - c. */
export function paeth(a: number, b: number, c: number): number {
  const pa = b < c ? c - b : b - c;
  const pb = a < c ? c - a : a - c;
  const sum = a + b - c - c;
  const pc = sum < 0 ? -sum : sum;
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

/** Writes a row of samples as words of RGBA from `start` on, each after `step`. */
type Converter = (
  line: Uint8Array,
  width: number,
  words: Uint32Array,
  start: number,
  step: number,
) => void;

const toWord = (red: number, green: number, blue: number, alpha: number): number =>
  (red | (green << 8) | (blue << 16) | (alpha << 24)) >>> 0;

/** Return what converts the rows of a file. */
function makeConverter(header: Header, transparency: Bytes | null): Converter {
  const { depth, colorType } = header;
  if (colorType === GREY || colorType === PALETTE) {
    const colors =
      colorType === GREY ? greyLevels(depth, transparency) : paletteOf(header, transparency);
    return (line, width, words, start, step) => {
      for (let x = 0, to = start; x < width; x += 1, to += step) {
        words[to] = colors[sampleAt(line, x, depth)];
      }
    };
  }
  if (colorType === GREY_ALPHA) {
    return (line, width, words, start, step) => {
      for (let from = 0, to = start; from < 2 * width; from += 2, to += step) {
        words[to] = toWord(line[from], line[from], line[from], line[from + 1]);
      }
    };
  }
  if (colorType === RGB_ALPHA) {
    return (line, width, words, start, step) => {
      for (let from = 0, to = start; from < 4 * width; from += 4, to += step) {
        words[to] = toWord(line[from], line[from + 1], line[from + 2], line[from + 3]);
      }
    };
  }
  // One colour may be transparent.
  const key = transparency
    ? toWord(transparency[1], transparency[3], transparency[5], 255)
    : undefined;
  return (line, width, words, start, step) => {
    for (let from = 0, to = start; from < 3 * width; from += 3, to += step) {
      const word = toWord(line[from], line[from + 1], line[from + 2], 255);
      words[to] = word === key ? (word & 0xffffff) >>> 0 : word;
    }
  };
}

function sampleAt(line: Uint8Array, x: number, depth: number): number {
  if (depth === 8) return line[x];
  const bit = x * depth;
  return (line[bit >> 3] >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
}

/** Return the words of each level of grey. */
function greyLevels(depth: number, transparency: Bytes | null): Uint32Array {
  const maximum = 2 ** depth - 1;
  const transparent = transparency ? u16(transparency, 0) : -1;
  return Uint32Array.from({ length: maximum + 1 }, (_, level) => {
    const value = (level * 255) / maximum;
    return toWord(value, value, value, level === transparent ? 0 : 255);
  });
}

/** Return the words of each index of a palette; those beyond its end are black. */
function paletteOf({ palette }: Header, transparency: Bytes | null): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, index) => {
    const [red = 0, green = 0, blue = 0] = palette.subarray(3 * index, 3 * index + 3);
    return toWord(red, green, blue, transparency?.[index] ?? 255);
  });
}

/** Return the content of the chunk tRNS, null if there is none. */
function readTransparency(chunks: readonly Chunk[]): Bytes | null {
  const chunk = chunks.find(({ name, bytes }) => name === "tRNS" && isIntact(bytes));
  return chunk ? contentOf(chunk.bytes) : null;
}
