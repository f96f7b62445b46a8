// Metadata of a photo: read, kept byte for byte, made upright, and written again.
//
// Damaged metadata are dropped; they never stop an image that is intact.

import { type Bytes, toBinary, withoutZeros } from "./bytes.ts";
import type { Density } from "./density.ts";
import * as exif from "./exif.ts";
import * as photoshop from "./photoshop.ts";
import { COLOR_CHUNKS, chunkName, turnChunk } from "./png/chunks.ts";
import type { Crop, Turn } from "./turning.ts";
import * as xmp from "./xmp/packet.ts";

/** Everything in a photo's file besides its pixels. */
export interface Metadata {
  /** A TIFF block, without the prefix `Exif\0\0`. */
  exif: Bytes | null;
  /** An XMP packet. */
  xmp: Bytes | null;
  /** The colour profile of the pixels; null: sRGB, not tagged. */
  icc: Bytes | null;
  /** Image resource blocks (`8BIM`...), which contain the IPTC of a JPEG. */
  photoshop: Bytes | null;
  /** IPTC records (IIM). */
  iptc: Bytes | null;
  density: Density | null;
  /** Text comments of the file; UTF-8 in those of a PNG. */
  comments: Bytes[];
  /** Further segments, which only a JPEG can hold; without comments. */
  jpegSegments: Bytes[];
  /** Further chunks, which only a PNG can hold; without comments, as of `adaptChunk`. */
  pngChunks: Bytes[];
  /** What of the file could not be kept, each a phrase such as "the gain map is dropped". */
  warnings: string[];
}

export const DAMAGED_EXIF = "damaged EXIF is dropped";
/** ModelPixelScale, ModelTiepoint and ModelTransformation of a GeoTIFF. */
const GEO_TAGS = [33550, 33922, 34264];

/** Return metadata of which some are set. */
export const makeMetadata = (values: Partial<Metadata> = {}): Metadata => ({
  exif: null,
  xmp: null,
  icc: null,
  photoshop: null,
  iptc: null,
  density: null,
  comments: [],
  jpegSegments: [],
  pngChunks: [],
  warnings: [],
  ...values,
});

/** Return the orientation by EXIF, else by XMP, 1 (upright) to 8; null if there is none. */
export function readOrientation({ exif: block, xmp: packet }: Metadata): number | null {
  const orientation = block && exif.readOrientation(block);
  return orientation ?? (packet && xmp.readOrientation(packet));
}

/**
 * Return the metadata of the photo after its orientation was applied.
 *
 * Faces, other regions, paths and sizes are turned. Offsets in EXIF stay, as maker notes depend on
 * them. Thumbnails, which show the photo before, are dropped; EXIF's is unlinked.
 */
export function makeUpright(metadata: Metadata, turn: Turn): Metadata {
  const { density, exif: block, xmp: packet, photoshop: resources } = metadata;
  const turned = resources && photoshop.makeUpright(resources, turn);
  return {
    ...metadata,
    exif: block && exif.makeUpright(block, turn),
    xmp: packet && xmp.makeUpright(packet, turn),
    density: density && turn.swapsSides ? [density[1], density[0], density[2]] : density,
    photoshop: turned?.length ? turned : null,
    pngChunks: metadata.pngChunks.map((chunk) => turnChunk(chunk, turn)),
  };
}

/**
 * Return the metadata of a rectangle of the photo.
 *
 * Positions and sizes follow, and what is cut off is removed. What cannot follow is dropped with a
 * warning.
 */
export function crop(metadata: Metadata, crop: Crop): Metadata {
  const { exif: block, xmp: packet, photoshop: resources } = metadata;
  const [moved, lost] = packet ? xmp.crop(packet, crop) : [null, []];
  const [blocks, lostBlocks] = resources ? photoshop.crop(resources, crop) : [null, []];
  return [...lost, ...lostBlocks].reduce(withWarning, {
    ...metadata,
    exif: block && exif.crop(block, crop),
    xmp: moved,
    photoshop: blocks?.length ? blocks : null,
  });
}

/** Return the metadata without a GeoTIFF's places on the map, with a warning if it has any. */
export function withoutPlaces(metadata: Metadata): Metadata {
  const block = metadata.exif && exif.removeFields(metadata.exif, GEO_TAGS);
  if (block === metadata.exif) return metadata;
  return withWarning({ ...metadata, exif: block }, "the place on the map (GeoTIFF) is dropped");
}

/** Return a copy with one more warning, unless it is there. */
export const withWarning = (metadata: Metadata, text: string): Metadata =>
  metadata.warnings.includes(text)
    ? metadata
    : { ...metadata, warnings: [...metadata.warnings, text] };

/** Return a copy with another colour profile, and without a PNG's colour chunks. */
export const withProfile = (metadata: Metadata, icc: Bytes | null): Metadata => ({
  ...metadata,
  icc,
  pngChunks: metadata.pngChunks.filter((chunk) => !COLOR_CHUNKS.includes(chunkName(chunk))),
});

/** Return a copy with XMP properties that say that colours were added. */
export function withMark(metadata: Metadata, text: string): Metadata {
  const marked = xmp.setMark(metadata.xmp ?? xmp.EMPTY_PACKET, text);
  if (marked) return { ...metadata, xmp: marked };
  const replaced = { ...metadata, xmp: xmp.setMark(xmp.EMPTY_PACKET, text) };
  return withWarning(replaced, "XMP is damaged, and replaced by the mark");
}

/** Return a comment without NULs; bytes that are not UTF-8 are taken for Latin-1. */
export function cleanComment(comment: Bytes): string {
  const data = withoutZeros(comment).map((byte) => byte || 0x20);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch (error) {
    if (error instanceof TypeError) return toBinary(data);
    throw error;
  }
}
