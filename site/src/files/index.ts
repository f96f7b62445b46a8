// Reading and writing of photos in the browser: the counterpart of photochrom.imagefile.

import { SRGB } from "../engine/color.ts";
import { applyProfile, srgbProfile } from "../engine/icc.ts";
import { type Image, type Look, type Photo, PhotoError, type Rectangle } from "../types.ts";
import { VERSION } from "../version.ts";
import * as browser from "./browser.ts";
import { type Bytes, toBinary, u32 } from "./bytes.ts";
import { convertDensity } from "./density.ts";
import { detectFormat } from "./formats.ts";
import { DecodingError, decode as decodeJpeg, encode as encodeJpeg } from "./jpeg/codec.ts";
import { type JpegHeader, readHeader as readJpegHeader } from "./jpeg/header.ts";
import * as jpeg from "./jpeg/metadata.ts";
import { describeSegment } from "./jpeg/segments.ts";
import { resultTables, standardTables } from "./jpeg/tables.ts";
import { describePart, fillWhite, findPart, findRows, isPadded } from "./jpeg/truncation.ts";
import {
  type Metadata,
  crop as cropMetadata,
  makeMetadata,
  makeUpright,
  readOrientation,
  withMark,
  withProfile,
  withWarning,
  withoutPlaces,
} from "./metadata.ts";
import { outputFormat, outputName } from "./names.ts";
import {
  COLOR_CHUNKS,
  type Header as PngHeader,
  chunkName,
  describeChunks,
  readChunks,
} from "./png/chunks.ts";
import { checkColors } from "./png/color.ts";
import {
  CutOffError,
  checkHeader,
  decode as decodePng,
  isGrey as isGreyPng,
} from "./png/decoding.ts";
import { encode as encodePng } from "./png/encoding.ts";
import { metadataChunks, readMetadata as readPngMetadata } from "./png/metadata.ts";
import { uprightPixels } from "./pixels.ts";
import { Crop, ORIENTATIONS, Turn } from "./turning.ts";
import { hasMark } from "./xmp/packet.ts";

export { initCodecs } from "./jpeg/codec.ts";
export { outputName, safeName, sanitizeName, uniqueName } from "./names.ts";
export { ZipWriter } from "./zip.ts";

export interface ReadOptions {
  /** Whether a JPEG or PNG that is cut off is decoded as far as it goes. */
  truncated: boolean;
  /** A larger image is refused before it is decoded. */
  maxPixels: number;
}

/** A photo, with what a result is written with. */
export interface SourceFile {
  /** Upright. Its pixels may be changed or replaced by others; size and space are needed. */
  photo: Photo;
  name: string;
  format: string;
  pages: number;
  /** What of the file could not be kept, each a phrase. */
  warnings: string[];
  /** Whether the file says that photochrom added its colours. */
  isMarked: boolean;
  /** Of the upright photo. */
  metadata: Metadata;
  /** Of a JPEG. */
  header: JpegHeader | null;
  /** Of the file, 1 to 8, which was applied to the pixels. */
  orientation: number;
}

export interface WriteOptions {
  look: Look;
  modelName: string;
  /** Number of hints that the colours follow. */
  hintCount: number;
  signal?: AbortSignal;
}

/** What a reader of a format returns. */
interface Decoded {
  image: Image;
  metadata: Metadata;
  isGrey: boolean;
  header?: JpegHeader;
  /** Whether the pixels are turned already. */
  isUpright?: boolean;
  /** Rows that the file has, if it is cut off. */
  rows?: number;
  /** Whether it lacks nothing but its last bytes, in whose place a program reserved zeros. */
  lacksOnlyItsEnd?: boolean;
}

const QUALITY = 95; // of the result of another format than JPEG
const PREVIEW_QUALITY = 90;
/** Format to unit and maximum of a resolution. */
const MAX_DENSITIES = { JPEG: ["inch", 65535], PNG: ["m", 2 ** 31 - 1] } as const;
const PROGRAM = "use the program photochrom (pip install photochrom)";
/** Formats that are left to the program, as a browser would lose bits or pages. */
const REFUSED = ["TIFF", "PSD", "camera raw", "QOI", "PDF"];
/** Profiles of spaces, for previews. */
const profiles = new WeakMap<object, Bytes>();

/**
 * Read a photo, upright, with its metadata.
 *
 * Throws a `PhotoError`: with the code "truncated" if a part of the photo can be read with that
 * option, with "too_large" if it has more than `maxPixels`. Throws a `RangeError` if there is not
 * enough memory.
 */
export async function readPhoto(
  file: Blob,
  name: string,
  options: ReadOptions,
): Promise<SourceFile> {
  if (!file.size) throw new PhotoError(`${name} is empty: 0 bytes`);
  const data: Bytes = new Uint8Array(await file.arrayBuffer());
  const format = detectFormat(data, name);
  if (format === null) {
    throw new PhotoError(
      `${name} is not a photo in a format that a browser opens, such as JPEG, PNG or WebP, ` +
        "whatever its suffix; the program photochrom (pip install photochrom) opens more",
    );
  }
  if (REFUSED.includes(format)) {
    throw new PhotoError(
      `${name} is a ${format}${format === "camera raw" ? " photo" : ""}, which a browser cannot ` +
        `open as it is; save it as JPEG or PNG, or ${PROGRAM}`,
    );
  }
  const read = { JPEG: readJpeg, PNG: readPng }[format] ?? readByBrowser(format);
  const decoded = await read(data, name, options);
  checkSize(decoded.image.width, decoded.image.height, options.maxPixels);
  return finish(decoded, name, format, options);
}

/**
 * Return what of a file its result cannot have, each a phrase, before the photo is colorized.
 */
export function resultWarnings(source: SourceFile, look: Pick<Look, "format">): string[] {
  const format = outputFormat(outputName(source.name, look));
  const { metadata, photo } = source;
  const { density } = metadata;
  const lost: string[] = [...metadata.warnings];
  const [unit, maximum] = MAX_DENSITIES[format];
  if (density && !convertDensity(density, unit, maximum)) {
    lost.push(`the resolution is lost: a ${format} holds 1 to ${maximum} pixels per ${unit}`);
  }
  if (format === "JPEG") {
    if ((metadata.exif?.length ?? 0) > jpeg.MAX_EXIF) {
      lost.push("EXIF takes several segments of the JPEG, of which many programs read one");
    }
    const chunks = metadata.pngChunks.filter((chunk) => !COLOR_CHUNKS.includes(chunkName(chunk)));
    const names = describeChunks(chunks).join(", ");
    if (names) lost.push(`chunks of the PNG are lost: ${names}`);
    if (photo.hasAlpha) lost.push("transparency becomes white: a JPEG cannot hold it");
  } else {
    const kept = metadata.jpegSegments.filter((segment) => !isOfEncoding(segment));
    const names = [...new Set(kept.map(describeSegment))].join(", ");
    if (names) lost.push(`segments of the JPEG are lost: ${names}`);
  }
  return lost;
}

/**
 * Write a result: a JPEG without chroma subsampling in the quality of the source, or a PNG.
 *
 * @param colored With the geometry of the look. With transparency in a JPEG it is laid on white, in
 *   place.
 *
 * Throws a `PhotoError` if the format cannot hold the photo, a `RangeError` if there is not enough
 * memory.
 */
export async function writeResult(
  source: SourceFile,
  colored: Photo,
  { look, modelName, hintCount, signal }: WriteOptions,
): Promise<Blob> {
  let metadata = withGeometry(source, colored, look);
  if (source.photo.space.matrix === null && colored.space.matrix !== null) {
    metadata = withProfile(metadata, new Uint8Array(srgbProfile()));
  }
  if (look.mark && look.saturation * look.strength > 0) {
    metadata = withMark(metadata, formatMark(modelName, hintCount));
  }
  signal?.throwIfAborted();
  if (outputFormat(outputName(source.name, look)) === "PNG") {
    const chunks = metadataChunks(metadata, colored.hasAlpha);
    return new Blob(encodePng(colored, colored.hasAlpha, chunks), { type: "image/png" });
  }
  if (colored.hasAlpha) layOnWhite(colored.pixels);
  const encoded = await encodeJpeg(colored, tablesOf(source, look));
  return new Blob(jpeg.writeMetadata(encoded, metadata), { type: "image/jpeg" });
}

/** Return a preview for the page: a JPEG, or a PNG if it has transparency. */
export async function encodePreview(photo: Photo): Promise<Blob> {
  const icc = profiles.get(photo.space) ?? null;
  const metadata = makeMetadata({ icc });
  if (photo.hasAlpha) {
    const chunks = photo.space.matrix ? metadataChunks(metadata, true) : [];
    return new Blob(encodePng(photo, true, chunks), { type: "image/png" });
  }
  // An encoder's buffer for one channel is too small for the header of a tiny JPEG.
  const isGrey = photo.space.matrix === null && photo.width * photo.height > 1024;
  const encoded = await encodeJpeg(photo, standardTables(PREVIEW_QUALITY), isGrey);
  return new Blob(jpeg.writeMetadata(encoded, metadata), { type: "image/jpeg" });
}

async function readJpeg(data: Bytes, name: string, options: ReadOptions): Promise<Decoded> {
  const header = readJpegHeader(data);
  if (!header) {
    throw new PhotoError(`${name} is a JPEG that is damaged: it has no header of an image`);
  }
  checkJpeg(header, name);
  checkSize(header.width, header.height, options.maxPixels);
  const part = findPart(data);
  const image = await decodeRobustly(part?.data ?? data, name);
  const isGrey = header.components.length === 1;
  const decoded = { image, header, isGrey, metadata: jpeg.readMetadata(data) };
  if (!part) return decoded;
  const rows = findRows(image, part);
  return { ...decoded, rows, lacksOnlyItsEnd: isPadded(data) && rows === image.height };
}

/** Decode a JPEG, if that fails without metadata that may be damaged. */
async function decodeRobustly(data: Bytes, name: string): Promise<Image> {
  try {
    return await decodeJpeg(data);
  } catch (error) {
    if (!(error instanceof DecodingError)) throw error;
  }
  try {
    return await decodeJpeg(jpeg.stripMetadata(data));
  } catch (error) {
    if (!(error instanceof DecodingError)) throw error;
    throw new PhotoError(`${name} is damaged or cut off: ${error.message}`);
  }
}

/** Throw a `PhotoError` if the codec cannot decode a JPEG, or would lose bits. */
function checkJpeg({ marker, bits, components }: JpegHeader, name: string): void {
  const isLossy = [0xc0, 0xc1, 0xc2, 0xc9, 0xca].includes(marker);
  let kind = null;
  if (components.length !== 1 && components.length !== 3) {
    kind = components.length === 4 ? "of inks (CMYK)" : `of ${components.length} channels`;
  } else if (bits !== 8) {
    kind = `of ${bits} bits`;
  } else if (!isLossy) {
    kind = "without loss";
  }
  if (kind) {
    throw new PhotoError(
      `${name} is a JPEG ${kind}, which cannot be kept here; save it as a plain JPEG or PNG, or ` +
        PROGRAM,
    );
  }
}

async function readPng(data: Bytes, name: string, options: ReadOptions): Promise<Decoded> {
  const header = checkHeader(data, name);
  checkSize(header.width, header.height, options.maxPixels);
  if (header.depth === 16) {
    throw new PhotoError(
      `${name} has 16 bits for each channel, of which 8 would be lost here; save it with 8 bits, ` +
        `or ${PROGRAM}`,
    );
  }
  const animation = readChunks(data).find(({ name: chunk }) => chunk === "acTL");
  if (animation && u32(animation.bytes, 8) > 1) {
    throw new PhotoError(`${name} is an animation; give its frames one by one`);
  }
  const isGrey = isGreyPng(header);
  const metadata = checkColors(readPngMetadata(data), name, isGrey);
  try {
    return { image: decodePng(data, header, false).image, metadata, isGrey };
  } catch (error) {
    if (!(error instanceof CutOffError)) throw error;
    const isComplete = readChunks(data).some(({ name: chunk }) => chunk === "IEND");
    const part = isComplete || header.isInterlaced ? null : decodePart(data, header);
    if (!part?.rows) throw new PhotoError(`${name} is damaged or cut off: ${error.message}`);
    return { image: part.image, metadata, isGrey, rows: part.rows };
  }
}

/** Decode what a PNG has of its rows, null if they are damaged. */
function decodePart(data: Bytes, header: PngHeader) {
  try {
    return decodePng(data, header, true);
  } catch (error) {
    if (error instanceof CutOffError) return null;
    throw error;
  }
}

const readByBrowser =
  (format: string) =>
  async (data: Bytes, name: string, { maxPixels }: ReadOptions): Promise<Decoded> => {
    const size = browser.readSize(data, format);
    if (size) checkSize(size[0], size[1], maxPixels);
    return { ...(await browser.open(data, format, name)), isGrey: false };
  };

/** Throw a `PhotoError` if an image has too many pixels. */
function checkSize(width: number, height: number, maxPixels: number): void {
  if (width * height <= maxPixels) return;
  const megapixels = (pixels: number) => Number((pixels / 1e6).toPrecision(5));
  throw new PhotoError(
    `this photo has ${megapixels(width * height)} megapixels; this browser takes up to ` +
      `${megapixels(maxPixels)}`,
    "too_large",
  );
}

/** Fill what is missing with white, apply the profile, and make the photo upright. */
function finish(
  { image, metadata: stored, isGrey, header, isUpright, rows, lacksOnlyItsEnd }: Decoded,
  name: string,
  format: string,
  { truncated }: ReadOptions,
): SourceFile {
  let metadata = stored;
  const orientation = (isUpright ? null : readOrientation(metadata)) ?? 1;
  if (rows !== undefined) {
    if (!rows) throw new PhotoError(`${name} is damaged or cut off: it has no whole row of pixels`);
    const share = rows / image.height;
    if (!truncated && !lacksOnlyItsEnd) throw truncatedError(name, share);
    fillWhite(image, rows);
    metadata = withWarning(metadata, describePart(share, orientation));
  }
  const plain = { ...image, isGrey, hasAlpha: !isOpaque(image.pixels), space: SRGB };
  const { photo, warning } = applyProfile(plain, metadata.icc);
  if (warning) metadata = withWarning(withProfile(metadata, null), warning);
  const turn = new Turn(orientation, image.width, image.height);
  metadata = makeUpright(metadata, turn);
  if (metadata.icc && photo.space !== SRGB) profiles.set(photo.space, metadata.icc);
  return {
    photo: { ...photo, ...uprightPixels(image, turn) },
    name,
    format,
    pages: 1,
    warnings: metadata.warnings,
    isMarked: metadata.xmp !== null && hasMark(metadata.xmp),
    metadata,
    header: header ?? null,
    orientation,
  };
}

function truncatedError(name: string, share: number): PhotoError {
  const part =
    share < 1 ? `only the first ${Math.round(100 * share)} % of it` : "all but fine detail of it";
  return new PhotoError(`${name} is cut off: ${part} can be read`, "truncated");
}

function isOpaque(pixels: Uint8ClampedArray): boolean {
  for (let at = 3; at < pixels.length; at += 4) if (pixels[at] !== 255) return false;
  return true;
}

/** Lay a photo on white in encoded values, as browsers do. */
function layOnWhite(pixels: Uint8ClampedArray): void {
  for (let at = 0; at < pixels.length; at += 4) {
    const alpha = pixels[at + 3];
    if (alpha === 255) continue;
    for (let channel = at; channel < at + 3; channel += 1) {
      pixels[channel] = 255 - Math.floor(((255 - pixels[channel]) * alpha + 127) / 255);
    }
    pixels[at + 3] = 255;
  }
}

/** Return the metadata of a photo that is turned, straightened and cropped. */
function withGeometry(
  { metadata: upright, photo }: SourceFile,
  { width, height }: Photo,
  { turn, straighten, crop }: Look,
): Metadata {
  if (!turn && !straighten && !crop) return upright;
  let metadata = withoutPlaces(upright);
  let size = [photo.width, photo.height];
  if (turn) {
    metadata = makeUpright(metadata, new Turn(ORIENTATIONS[turn], photo.width, photo.height));
    if (turn % 180) size = size.toReversed();
  }
  if (!straighten && !crop) return metadata;
  // Without a crop it is the rectangle in the centre.
  const [left, top] = crop ?? [(size[0] - width) >> 1, (size[1] - height) >> 1];
  const rectangle: Rectangle = [left, top, width, height];
  return cropMetadata(metadata, new Crop(size[0], size[1], straighten, rectangle));
}

/** Return the tables of a result: those of a JPEG, or of a fixed quality. */
function tablesOf({ header, metadata, orientation }: SourceFile, look: Look) {
  if (!header) return standardTables(QUALITY);
  const keepsValues = header.components.length === 3 || metadata.icc === null;
  return resultTables(header, orientation, keepsValues, look);
}

/** Return the text that says where colours come from. */
function formatMark(model: string, hints: number): string {
  const origin = `colours added by photochrom ${VERSION}, model ${model}`;
  const text = `${origin}: guesses, not the photograph's own`;
  if (!hints) return text;
  const colors = hints === 1 ? "colour at 1 place" : `colours at ${hints} places`;
  return `${text}; a person gave the ${colors}`;
}

/** Tell whether a segment says how a JPEG was encoded. */
const isOfEncoding = (segment: Bytes): boolean => toBinary(segment.subarray(4, 9)) === "Ducky";
