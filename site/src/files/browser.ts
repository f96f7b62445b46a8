// Photos of formats that the browser decodes, on a canvas: WebP, AVIF, HEIC, GIF, BMP and others.

import { type Image, PhotoError } from "../types.ts";
import { type Bytes, find, hasAt, join, pack32, toBinary, u16, u32 } from "./bytes.ts";
import type { Density } from "./density.ts";
import * as exif from "./exif.ts";
import { DAMAGED_EXIF, type Metadata, makeMetadata } from "./metadata.ts";
import { ADVICE, BT709_COLORS, CHROMATICITY_TOLERANCE, GAMMA_TOLERANCE } from "./png/color.ts";

const ROWS = 256; // that are read from a canvas at once
const CHECK_SIDE = 16;
const HEADER_SIZE = 1 << 16; // of an AVIF or HEIC, in which its sizes are
/** Formats of which the browser converts the colours to sRGB, and turns the pixels. */
const CONVERTED = ["AVIF", "HEIC", "JPEG XL", "JPEG 2000"];
const HDR_TRANSFERS = [16, 18]; // PQ and HLG (ITU-T H.273, section 8.2)
const LOSSES =
  "this browser decodes it to 8 bits of sRGB: its colour profile and its metadata are lost";

const [BMP_V3, BMP_V4, BMP_V5] = [40, 108, 124]; // sizes of the headers
const [CALIBRATED, EMBEDDED, LINKED] = ["\0\0\0\0", "DEBM", "KNIL"]; // little-endian
const [GIF_COMMENT, GIF_APPLICATION] = [0xfe, 0xff];
const [GIF_XMP, GIF_PROFILE] = ["XMP DataXMP", "ICCRGBG1012"];
const XMP_TRAILER_SIZE = 258; // bytes that lead a reader, which takes XMP for blocks, to its end

export interface Opened {
  image: Image;
  metadata: Metadata;
  /** Whether the browser turned the pixels. */
  isUpright: boolean;
}

/** Format to a reader of width and height from a file's header; null: they are not found. */
const SIZES: Record<string, (data: Bytes) => [number, number] | null> = {
  WebP: webpSize,
  AVIF: heifSize,
  HEIC: heifSize,
  GIF: (data) => [data[6] | (data[7] << 8), data[8] | (data[9] << 8)],
  BMP: bmpSize,
};

/** Return width and height in px by the header of a file, null if they are not found. */
export const readSize = (data: Bytes, format: string): [number, number] | null =>
  SIZES[format]?.(data) ?? null;

/**
 * Decode a photo by the browser.
 *
 * Throws a `PhotoError` if the browser cannot, or if it changes pixels to protect the user.
 */
export async function open(data: Bytes, format: string, name: string): Promise<Opened> {
  if (isAnimation(data, format)) {
    throw new PhotoError(`${name} is an animation; give its frames one by one`);
  }
  const isConverted = CONVERTED.includes(format);
  if (isConverted && isHdr(data)) {
    throw new PhotoError(
      `${name} has the colours of an HDR display, which cannot be kept here; convert it to sRGB`,
    );
  }
  const stored = format === "BMP" ? readBmp(data, name) : null;
  await checkCanvas();
  const chunks = format === "WebP" ? webpChunks(data) : new Map<string, Bytes>();
  const block = chunks.get("EXIF") ?? null;
  const bare = block ? withoutExif(data) : data; // as some browsers turn by it, and some do not
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bare]), {
      colorSpaceConversion: isConverted ? "default" : "none",
      premultiplyAlpha: "none",
    });
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new PhotoError(
      isConverted
        ? `${name} is ${format === "AVIF" ? "an" : "a"} ${format}, which this browser cannot ` +
            "open; give a JPEG or PNG, or use the program photochrom (pip install photochrom)"
        : `${name} is a ${format} that is damaged, or of a kind that this browser cannot open; ` +
            "save it again as PNG",
    );
  }
  const image = readBitmap(bitmap);
  if (isConverted) {
    return { image, metadata: makeMetadata({ warnings: [LOSSES] }), isUpright: true };
  }
  const content = block && hasAt(block, exif.PREFIX) ? block.subarray(exif.PREFIX.length) : block;
  const isDamaged = content !== null && !exif.isValid(content);
  const metadata = makeMetadata({
    exif: isDamaged ? null : content,
    xmp: chunks.get("XMP ") ?? null,
    icc: chunks.get("ICCP") ?? null,
    warnings: isDamaged ? [DAMAGED_EXIF] : [],
    ...(format === "GIF" ? readGif(data).metadata : stored),
  });
  return { image, metadata, isUpright: false };
}

/** Draw known pixels, and throw a `PhotoError` if others are read back. */
async function checkCanvas(): Promise<void> {
  const size = 4 * CHECK_SIDE ** 2;
  const known = Uint8ClampedArray.from({ length: size }, (_, index) =>
    index % 4 === 3 ? 255 : (index * 73) % 256,
  );
  const bitmap = await createImageBitmap(new ImageData(known, CHECK_SIDE, CHECK_SIDE));
  const { pixels } = readBitmap(bitmap);
  if (pixels.some((value, index) => value !== known[index])) {
    throw new PhotoError(
      "this browser changes the pixels of pictures to protect you from being recognized, so that " +
        "only JPEG and PNG can be opened; allow this page to read canvases, or save the photo " +
        "as PNG",
    );
  }
}

/** Return the pixels of a bitmap, some rows after the other to save memory, and close it. */
function readBitmap(bitmap: ImageBitmap): Image {
  const { width, height } = bitmap;
  try {
    const pixels = new Uint8ClampedArray(4 * width * height);
    const canvas = new OffscreenCanvas(width, Math.min(ROWS, height));
    const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
    if (!context) throw new RangeError("out of memory: the browser makes no canvas");
    for (let top = 0; top < height; top += ROWS) {
      const rows = Math.min(ROWS, height - top);
      context.clearRect(0, 0, width, rows);
      context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
      pixels.set(context.getImageData(0, 0, width, rows).data, 4 * width * top);
    }
    return { width, height, pixels };
  } finally {
    bitmap.close(); // its memory is not the garbage collector's
  }
}

function isAnimation(data: Bytes, format: string): boolean {
  if (format === "GIF") return readGif(data).frames > 1;
  if (format === "AVIF") return hasAt(data, "avis", 8);
  return format === "WebP" && hasAt(data, "VP8X", 12) && (data[20] & 2) !== 0;
}

/**
 * Return the number of images of a GIF, and its metadata.
 *
 * Follows GIF89a, sections 19 to 26, and Adobe's XMP Specification Part 3, section 1.1.2.
 */
function readGif(data: Bytes): { frames: number; metadata: Partial<Metadata> } {
  const tableSize = (flags: number) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let at = 13 + tableSize(data[10]);
  let frames = 0;
  const [comments, packets, profiles]: Bytes[][] = [[], [], []];
  while (at < data.length && data[at] !== 0x3b) {
    const label = data[at] === 0x21 ? data[at + 1] : null;
    if (data[at] === 0x2c) {
      frames += 1;
      at += 11 + tableSize(data[at + 9]);
    } else if (data[at] === 0x21) {
      at += 2;
    } else {
      break; // it is damaged
    }
    const start = at;
    while (data[at]) at += 1 + data[at]; // blocks of data
    at += 1;
    const content = data.subarray(start, at);
    if (label === GIF_COMMENT) comments.push(joinBlocks(content));
    if (label !== GIF_APPLICATION) continue;
    if (hasAt(content, GIF_XMP, 1)) {
      packets.push(content.subarray(1 + GIF_XMP.length, -XMP_TRAILER_SIZE));
    } else if (hasAt(content, GIF_PROFILE, 1)) {
      profiles.push(joinBlocks(content).subarray(GIF_PROFILE.length));
    }
  }
  const [xmp, icc] = [packets, profiles].map((all) => all.find(isFilled) ?? null);
  return { frames, metadata: { comments: comments.filter(isFilled), xmp, icc } };
}

/** Return the content of a GIF's blocks of data. */
function joinBlocks(content: Bytes): Bytes {
  const parts: Bytes[] = [];
  for (let at = 0; content[at]; at += 1 + content[at]) {
    parts.push(content.subarray(at + 1, at + 1 + content[at]));
  }
  return join(parts);
}

/** Return the chunks of a WebP by name, of several the first (RFC 9649). */
function webpChunks(data: Bytes): Map<string, Bytes> {
  const chunks = new Map<string, Bytes>();
  for (const { name, start, end } of locateChunks(data)) {
    if (!chunks.has(name)) chunks.set(name, data.subarray(start + 8, end));
  }
  return chunks;
}

function locateChunks(data: Bytes): { name: string; start: number; end: number }[] {
  const chunks: { name: string; start: number; end: number }[] = [];
  let start = 12;
  while (start + 8 <= data.length) {
    const size = little32(data, start + 4);
    chunks.push({ name: toBinary(data.subarray(start, start + 4)), start, end: start + 8 + size });
    start += 8 + size + (size % 2);
  }
  return chunks;
}

/** Return a WebP without its EXIF. */
function withoutExif(data: Bytes): Bytes {
  const parts = locateChunks(data)
    .filter(({ name }) => name !== "EXIF")
    .map(({ start, end }) => data.subarray(start, end + ((end - start) % 2)));
  const body = join(parts);
  const size = pack32(4 + body.length).reverse();
  const output = join([data.subarray(0, 4), size, data.subarray(8, 12), body]);
  if (hasAt(output, "VP8X", 12)) output[20] &= ~8;
  return output;
}

function webpSize(data: Bytes): [number, number] | null {
  const little24 = (at: number) => data[at] | (data[at + 1] << 8) | (data[at + 2] << 16);
  if (hasAt(data, "VP8X", 12)) return [little24(24) + 1, little24(27) + 1];
  if (hasAt(data, "VP8L", 12)) {
    const bits = little32(data, 21);
    return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
  }
  if (!hasAt(data, "VP8 ", 12)) return null;
  return [little24(26) & 0x3fff, little24(28) & 0x3fff];
}

function bmpSize(data: Bytes): [number, number] {
  if (little32(data, 14) === 12) return [data[18] | (data[19] << 8), data[20] | (data[21] << 8)];
  return [Math.abs(signed32(data, 18)), Math.abs(signed32(data, 22))];
}

/**
 * Return the resolution of a BMP, and the profile of a BITMAPV5HEADER.
 *
 * Throws a `PhotoError` if its colours are those of another file, or of the header and not sRGB's:
 * the program makes a profile of them.
 */
function readBmp(data: Bytes, name: string): Partial<Metadata> {
  const size = little32(data, 14);
  const [x, y] = [signed32(data, 38), signed32(data, 42)];
  const density: Density | null = size >= BMP_V3 && Math.min(x, y) > 0 ? [x, y, "m"] : null;
  const kind = toBinary(data.subarray(70, 74));
  if ([BMP_V4, BMP_V5].includes(size) && kind === CALIBRATED && !isSrgbBmp(data)) {
    throw new PhotoError(`${name}: the colours of the BMP are those of its header; ${ADVICE}`);
  }
  if (size !== BMP_V5 || ![EMBEDDED, LINKED].includes(kind)) return { density };
  const [start, length] = [14 + little32(data, 126), little32(data, 130)];
  const profile = data.subarray(start, start + length);
  if (kind === LINKED) {
    const [file] = toBinary(profile).split("\0");
    throw new PhotoError(`${name} has its colour profile in another file, ${file}; embed it`);
  }
  if (profile.length === length) return { density, icc: length ? profile : null };
  return { density, warnings: ["the colour profile is cut off and dropped"] };
}

/** Tell whether the header of a BMP describes no colours, or those of sRGB. */
function isSrgbBmp(data: Bytes): boolean {
  const numbers = Array.from({ length: 9 }, (_, index) => signed32(data, 74 + 4 * index));
  const gammas = [110, 114, 118].map((at) => little32(data, at) / 2 ** 16);
  const isFar = (gamma: number) => Math.abs(gamma / 2.2 - 1) >= GAMMA_TOLERANCE;
  if (gammas.some(Boolean) && gammas.some(isFar)) return false;
  if (!numbers.some(Boolean)) return true;
  const [red, green, blue] = [0, 3, 6].map((start) => numbers.slice(start, start + 3));
  const sum = (values: number[]) => values.reduce((total, value) => total + value);
  const toXy = (xyz: number[]) => [xyz[0] / sum(xyz), xyz[1] / sum(xyz)];
  const isXyz = [red, green, blue].some((each) => Math.abs(sum(each) / 2 ** 30 - 1) > 0.01);
  const white = red.map((value, index) => value + green[index] + blue[index]);
  const colors = [white, red, green, blue].flatMap(toXy);
  const isSame = (value: number, index: number) =>
    Math.abs(value - BT709_COLORS[index]) < CHROMATICITY_TOLERANCE;
  // Of chromaticities, whose sum is 1, white is not known.
  return colors.every((value, index) => isSame(value, index) || (index < 2 && !isXyz));
}

/** Return the largest of the sizes of images (ISO/IEC 23008-12, section 6.5.3). */
function heifSize(data: Bytes): [number, number] | null {
  const header = data.subarray(0, HEADER_SIZE);
  let largest: [number, number] | null = null;
  for (let at = find(header, "ispe"); at >= 0; at = find(header, "ispe", at + 1)) {
    const [width, height] = [u32(header, at + 8), u32(header, at + 12)];
    if (!largest || width * height > largest[0] * largest[1]) largest = [width, height];
  }
  return largest;
}

/** Tell whether an AVIF or HEIC names the transfer curve of an HDR display. */
function isHdr(data: Bytes): boolean {
  const at = find(data.subarray(0, HEADER_SIZE), "colrnclx");
  return at >= 0 && HDR_TRANSFERS.includes(u16(data, at + 10));
}

const isFilled = ({ length }: Bytes): boolean => length > 0;

/** Read a signed integer of 4 bytes, little-endian; 0 stands for bytes that are missing. */
const signed32 = (data: Bytes, at: number): number =>
  data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24);

/** Read an unsigned integer of 4 bytes, little-endian. */
const little32 = (data: Bytes, at: number): number => signed32(data, at) >>> 0;
