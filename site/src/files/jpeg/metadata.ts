// Metadata of a JPEG: what its segments hold, and what lies behind its image.

import { PhotoError } from "../../types.ts";
import {
  type Bytes,
  find,
  fromBinary,
  hasAt,
  isEqual,
  join,
  toBinary,
  u16,
  u32,
} from "../bytes.ts";
import { type Density, convertDensity } from "../density.ts";
import * as exif from "../exif.ts";
import { DAMAGED_EXIF, type Metadata, makeMetadata } from "../metadata.ts";
import { IPTC, findIptc, readResources } from "../photoshop.ts";
import { GAIN_MAP_NAMESPACES, dropContained } from "../xmp/container.ts";
import { cutExtension, joinPackets, splitPacket } from "../xmp/extension.ts";
import {
  APP0,
  APP14,
  COM,
  MAX_CONTENT,
  findImageEnd,
  isIntact,
  isMetadata,
  locateSegments,
  makeSegment,
} from "./segments.ts";

const [APP1, APP2, APP8, APP11, APP13] = [0xe1, 0xe2, 0xe8, 0xeb, 0xed];
const JFIF = "JFIF\0";
const XMP = "http://ns.adobe.com/xap/1.0/\0";
const XMP_EXTENSION = "http://ns.adobe.com/xmp/extension/\0";
const ICC = "ICC_PROFILE\0";
const PHOTOSHOP = "Photoshop 3.0\0";
const ISO_GAIN_MAP = "urn:iso:std:iso:ts:21496";
/** Marker and start of the segments that are parsed, or would be wrong with other pixels. */
const KINDS: readonly (readonly [number, string, string])[] = [
  [APP0, JFIF, "JFIF"],
  [APP0, "JFXX\0", "JFXX"], // a thumbnail
  [APP1, "Exif\0", "EXIF"],
  [APP1, XMP, "XMP"],
  [APP1, XMP_EXTENSION, "extended XMP"],
  [APP2, ICC, "colour profile"],
  [APP2, "MPF\0", "MPF"],
  [APP2, ISO_GAIN_MAP, "gain map"],
  [APP8, "SPIFF\0", "SPIFF"], // size, encoding and resolution
  [APP8, "\0\0\0\x01\xff\xd8", "end of SPIFF"],
  [APP8, "mrfx", "mrfx"], // the colour transform of a JPEG-LS
  [APP11, "JP", "JPEG XT"],
  [APP11, "HDR_RI", "JPEG-HDR"],
  [APP13, PHOTOSHOP, "Photoshop"],
  [APP13, "Adobe_Photoshop2.5:", "Photoshop"],
  [COM, "", "comment"],
];
/** Some cameras write one zero, or garbage before. */
const UNUSUAL_EXIF = /^[^]{0,4}exif\0\0?(?=II|MM)/iu;
/** Labels of C2PA, and of its predecessor. */
const CREDENTIALS = ["c2pa", "cai\0"];
const PREVIEW_MARKERS = [0xe3, 0xe4, 0xe5];
const PREVIEW_PART = 60_000; // bytes of a segment of a preview that goes on in the next one
/** Bytes of EXIF in one segment. */
export const MAX_EXIF = MAX_CONTENT - exif.PREFIX.length;
const MAX_XMP = 65502; // by Adobe's specification
const UNITS = ["", "inch", "cm"] as const;
const MP_ENTRIES = 0xb002;
const GAIN_MAP_HEADER = 1 << 16;

/** Return a JPEG without metadata but EXIF and XMP, as a decoder takes it. */
export function stripMetadata(data: Bytes): Bytes {
  const parts = locateSegments(data).flatMap(({ marker, start, end }) => {
    const segment = data.subarray(start, end);
    if (marker === APP14) {
      // Adobe's has 12 bytes of content, whatever it claims.
      if (segment.length < 16) return [];
      return [isIntact(segment) ? segment : makeSegment(APP14, segment.subarray(4, 16))];
    }
    return isMetadata(marker) && (marker !== APP1 || !isIntact(segment)) ? [] : [segment];
  });
  return join([data.subarray(0, 2), ...parts]);
}

/** Read the metadata of a JPEG; of several images in the file, the first. */
export function readMetadata(data: Bytes): Metadata {
  const found = new Found();
  for (const { marker, start, end } of locateSegments(data)) {
    if (isMetadata(marker)) found.add(data, marker, start, end);
  }
  return dropTrailers(found.metadata(), data, found.previews);
}

/** What is in the segments of a JPEG, in their order. */
class Found {
  /** Where in the file images start that show the photo smaller. */
  readonly previews: number[] = [];
  private readonly exif: Bytes[] = [];
  private readonly xmp: Bytes[] = [];
  private readonly xmpExtension: Bytes[] = [];
  private readonly profile = new Map<number, Bytes>();
  private readonly photoshop: Bytes[] = [];
  private readonly comments: Bytes[] = [];
  /** Segments of JPEG XT and JUMBF by number (ISO/IEC 18477-3, section 6.2). */
  private readonly boxes = new Map<number, Bytes[]>();
  private readonly others: Bytes[] = [];
  private readonly warnings: string[] = [];
  /** Whether the last segment is of a picture of the photo, which may go on. */
  private inPreview = false;
  private hasJfif = false;
  private density: Density | null = null;

  /** Add a segment. A wrong length is corrected if more segments follow. */
  add(data: Bytes, marker: number, start: number, end: number): void {
    const content = data.subarray(start + 4, end);
    let [, prefix, kind] = KINDS.find(
      ([code, text]) => code === marker && hasAt(content, text),
    ) ?? [0, "", ""];
    const unusual = marker === APP1 && UNUSUAL_EXIF.exec(toBinary(content.subarray(0, 16)));
    if (unusual) [prefix, kind] = [unusual[0], "EXIF"];
    const isPreview =
      PREVIEW_MARKERS.includes(marker) &&
      (hasAt(content, "\xff\xd8\xff") || (this.inPreview && !kind));
    this.inPreview = isPreview && content.length > PREVIEW_PART;
    if (isPreview) return;
    if (!isIntact(data.subarray(start, end))) {
      const name = kind || `APP${marker - APP0}`;
      if (end === data.length || content.length > MAX_CONTENT) {
        this.warnings.push(`a damaged segment (${name}) is dropped`);
        return;
      }
      this.warnings.push(`the wrong length of a segment (${name}) is corrected`);
    }
    this.addContent(kind, marker, content, content.subarray(prefix.length), start + 4);
  }

  private addContent(
    kind: string,
    marker: number,
    content: Bytes,
    rest: Bytes,
    position: number,
  ): void {
    if (kind === "JFIF" && content.length > 11) {
      this.hasJfif = true;
      this.addDensity(content[7], u16(content, 8), u16(content, 10));
    } else if (kind === "SPIFF" && content.length >= 30) {
      if (this.hasJfif) {
        this.warnings.push("the header of SPIFF is dropped: there is one of JFIF");
      } else {
        this.addDensity(content[21], u32(content, 26), u32(content, 22));
      }
    } else if (kind === "EXIF") {
      const block = rest[0] === 0 ? rest.subarray(1) : rest;
      const isStart = hasAt(block, "II") || hasAt(block, "MM");
      if (this.exif.length && block.length && !isStart) {
        this.exif.push(join([this.exif.pop()!, block])); // of more than a segment
      } else {
        this.exif.push(block);
      }
    } else if (kind === "XMP") {
      this.xmp.push(rest);
    } else if (kind === "extended XMP") {
      this.xmpExtension.push(rest);
    } else if (kind === "colour profile") {
      const numbers = u16(rest, 0);
      if (!this.profile.has(numbers)) this.profile.set(numbers, rest.subarray(2));
    } else if (kind === "MPF") {
      this.previews.push(...findPreviews(rest).map((offset) => position + 4 + offset));
    } else if (kind === "JPEG XT") {
      const number = u16(content, 2);
      const segment = makeSegment(marker, content);
      this.boxes.set(number, [...(this.boxes.get(number) ?? []), segment]);
    } else if (kind === "JPEG-HDR") {
      this.warnings.push("the layer of JPEG-HDR is dropped");
    } else if (kind === "Photoshop") {
      this.photoshop.push(rest);
    } else if (kind === "comment") {
      this.comments.push(content);
    } else if (!kind) {
      this.others.push(makeSegment(marker, content));
    }
  }

  /** Return the metadata of all segments, with warnings of what is dropped. */
  metadata(): Metadata {
    const isFilled = (data: Bytes) => data.some((byte) => byte !== 0);
    const blocks = this.exif.filter(exif.isValid);
    if (this.exif.some((block) => isFilled(block) && !exif.isValid(block))) {
      this.warnings.push(DAMAGED_EXIF);
    }
    const packets = this.xmp.filter(isFilled);
    for (const [what, items] of [
      ["block of EXIF", blocks],
      ["packet of XMP", packets],
    ] as const) {
      if (items.some((item) => !isEqual(item, items[0]))) {
        this.warnings.push(`a second ${what} is dropped`);
      }
    }
    let packet: Bytes | null = packets[0] ?? null;
    if (this.xmpExtension.length) {
      const [joined, isComplete] = joinPackets(packet ?? new Uint8Array(), this.xmpExtension);
      packet = joined.length ? joined : null;
      if (!isComplete) this.warnings.push("extended XMP is incomplete and dropped");
    }
    const profile = joinProfile(this.profile);
    if (this.profile.size && !profile) {
      this.warnings.push("the colour profile is incomplete and dropped");
    }
    const resources = join(this.photoshop);
    const iptc = findIptc(resources);
    return makeMetadata({
      exif: blocks[0] ?? null,
      xmp: packet,
      icc: profile,
      photoshop: resources.length ? resources : null,
      iptc: iptc?.length ? iptc : null,
      density: this.density,
      comments: this.comments,
      jpegSegments: [...this.others, ...this.keptBoxes()],
      warnings: [...new Set(this.warnings)],
    });
  }

  private addDensity(unit: number, x: number, y: number): void {
    // A ratio of 1:1 is what encoders write by default.
    if (!x || !y || (unit === 0 && x === 1 && y === 1)) return;
    if (unit < UNITS.length) this.density = [x, y, UNITS[unit]];
    else this.warnings.push("the resolution is dropped: its unit is unknown");
  }

  /** Return the segments of boxes of JUMBF that are not about the original pixels. */
  private keptBoxes(): Bytes[] {
    return [...this.boxes.values()].flatMap((segments) => {
      const [first] = segments;
      if (!hasAt(first, "jumb", 16)) {
        this.warnings.push("the layers of JPEG XT are dropped");
      } else if (CREDENTIALS.some((label) => find(first, label) >= 0)) {
        this.warnings.push("content credentials (C2PA) are dropped: they sign the original pixels");
      } else {
        return segments;
      }
      return [];
    });
  }
}

/**
 * Return the segments of a JPEG from an encoder with its metadata.
 *
 * Throws a `PhotoError` if a part does not fit into a JPEG.
 */
export function writeMetadata(data: Bytes, metadata: Metadata): Bytes[] {
  let jfif: Bytes[] = [];
  const image: Bytes[] = [];
  for (const { marker, start, end } of locateSegments(data)) {
    const segment = data.subarray(start, end);
    if (marker === APP0 && hasAt(segment, JFIF, 4)) jfif = [setDensity(segment, metadata.density)];
    else if (!isMetadata(marker)) image.push(segment);
  }
  const added: Bytes[] = [];
  const prefix = fromBinary(exif.PREFIX);
  for (const part of split(metadata.exif, MAX_EXIF)) {
    added.push(makeSegment(APP1, prefix, part));
  }
  if (metadata.xmp) {
    const [packet, extension] = splitPacket(metadata.xmp, MAX_XMP);
    added.push(makeSegment(APP1, fromBinary(XMP), checkLength("XMP", packet, MAX_XMP)));
    for (const part of cutExtension(extension, MAX_CONTENT - XMP_EXTENSION.length)) {
      added.push(makeSegment(APP1, fromBinary(XMP_EXTENSION), part));
    }
  }
  if (metadata.icc) {
    const size = MAX_CONTENT - ICC.length - 2;
    const parts = split(checkLength("colour profile", metadata.icc, 255 * size), size);
    parts.forEach((part, index) => {
      const numbers = Uint8Array.of(index + 1, parts.length);
      added.push(makeSegment(APP2, fromBinary(ICC), numbers, part));
    });
  }
  for (const part of split(resourcesWithIptc(metadata), MAX_CONTENT - PHOTOSHOP.length)) {
    added.push(makeSegment(APP13, fromBinary(PHOTOSHOP), part));
  }
  added.push(...metadata.jpegSegments);
  for (const comment of metadata.comments) {
    added.push(...split(comment, MAX_CONTENT).map((part) => makeSegment(COM, part)));
  }
  return [data.subarray(0, 2), ...jfif, ...added, ...image];
}

/**
 * Drop what lies behind the image, with warnings, and what XMP says of it.
 *
 * The program keeps trailers of several programs.
 */
function dropTrailers(metadata: Metadata, data: Bytes, previews: readonly number[]): Metadata {
  let start = findImageEnd(data);
  const counts = { gainMaps: 0, pictures: 0, videos: 0 };
  while (start < data.length) {
    if (!hasAt(data, "ftyp", start + 4)) {
      while (start < data.length && isPadding(data, start)) start += 1;
    }
    if (!hasAt(data, "\xff\xd8\xff", start)) break;
    const end = findImageEnd(data, start);
    const header = data.subarray(start, Math.min(end, start + GAIN_MAP_HEADER));
    const isGainMap = [ISO_GAIN_MAP, ...GAIN_MAP_NAMESPACES].some(
      (text) => find(header, text) >= 0,
    );
    if (isGainMap) counts.gainMaps += 1;
    else if (!previews.includes(start)) counts.pictures += 1;
    start = end;
  }
  // The size of a video starts with zeros, which look like padding.
  const video = [0, 1, 2, 3].find((back) => hasAt(data, "ftyp", start - back + 4));
  let { warnings } = metadata;
  const warn = (text: string) => {
    warnings = [...warnings, text];
  };
  if (counts.gainMaps) warn("the gain map is dropped");
  if (counts.pictures) {
    const [which, verb] =
      counts.pictures === 1
        ? ["a further picture", "is"]
        : [`${counts.pictures} further pictures`, "are"];
    warn(`${which} behind the image ${verb} dropped`);
  }
  if (video !== undefined) {
    warn("the video behind the image is dropped");
  } else if (start < data.length) {
    let end = data.length;
    while (isPadding(data, end - 1)) end -= 1;
    const size = end - start;
    const [what, verb] = size === 1 ? ["1 byte", "is"] : [`${size} bytes`, "are"];
    warn(`${what} behind the end of the image ${verb} dropped`);
  }
  const images = counts.gainMaps + counts.pictures > 0;
  const drops = { images, video: video !== undefined };
  const isChanged = metadata.xmp !== null && (drops.images || drops.video);
  const packet = isChanged ? dropContained(metadata.xmp!, drops) : metadata.xmp;
  return { ...metadata, xmp: packet, warnings };
}

const isPadding = (data: Bytes, at: number): boolean =>
  [0, 0x20, 0x0d, 0x0a].includes(data[at]) || (data[at] === 0xff && data[at + 1] !== 0xd8);

/**
 * Join the parts of a profile by number and count; null if they are not complete.
 *
 * The profile itself begins with its size, as some programs write other numbers and counts.
 */
function joinProfile(parts: ReadonlyMap<number, Bytes>): Bytes | null {
  const keys = [...parts.keys()].toSorted((a, b) => a - b);
  const joined = join(keys.map((key) => parts.get(key)!));
  const isNumbered = keys.every((key, index) => key === (index + 1) * 256 + keys.length);
  return joined.length && (isNumbered || u32(joined, 0) === joined.length) ? joined : null;
}

/** Return the offsets in an MPF block of the images of type "large thumbnail" (CIPA DC-007). */
function findPreviews(block: Bytes): number[] {
  const isLittle = hasAt(block, "II");
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const offsets: number[] = [];
  try {
    const directory = view.getUint32(4, isLittle);
    const count = view.getUint16(directory, isLittle);
    for (let entry = directory + 2; entry < directory + 2 + 12 * count; entry += 12) {
      if (view.getUint16(entry, isLittle) !== MP_ENTRIES) continue;
      const start = view.getUint32(entry + 8, isLittle);
      const end = start + view.getUint32(entry + 4, isLittle);
      for (let at = start; at + 16 <= end; at += 16) {
        const attributes = view.getUint32(at, isLittle);
        if (((attributes >> 16) & 0xff) === 1) offsets.push(view.getUint32(at + 8, isLittle));
      }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it is damaged
  }
  return offsets;
}

/** Return image resource blocks that contain the IPTC, null if there are none. */
function resourcesWithIptc({ photoshop, iptc }: Metadata): Bytes | null {
  const resources = photoshop ?? new Uint8Array();
  if (!iptc || readResources(resources).some(({ number }) => number === IPTC)) return photoshop;
  const head = fromBinary("8BIM\x04\x04\0\0");
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, iptc.length);
  return join([head, size, iptc, new Uint8Array(iptc.length % 2), resources]);
}

function setDensity(jfif: Bytes, density: Density | null): Bytes {
  const converted = convertDensity(density, density?.[2] === "cm" ? "cm" : "inch", 65535);
  if (!converted) return jfif;
  const [x, y, unit] = converted;
  const output = jfif.slice();
  const code = UNITS.findIndex((name) => name === unit);
  output.set([code, x >> 8, x & 255, y >> 8, y & 255], 11);
  return output;
}

/** Return the data if they fit into a JPEG, else throw a `PhotoError`. */
function checkLength(what: string, data: Bytes, maximum: number): Bytes {
  if (data.length > maximum) {
    throw new PhotoError(
      `the photo's ${what} is ${data.length} bytes long and a JPEG holds ${maximum}; ` +
        "save the photo as PNG before, or if the mark made it too long, switch the mark off",
    );
  }
  return data;
}

function split(data: Bytes | null, size: number): Bytes[] {
  const parts: Bytes[] = [];
  for (let start = 0; data && start < data.length; start += size) {
    parts.push(data.subarray(start, start + size));
  }
  return parts;
}
