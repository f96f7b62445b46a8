// Metadata of a PNG: what its chunks hold.

import { zlibSync } from "fflate";

import {
  type Bytes,
  fromBinary,
  hasAt,
  isEqual,
  join,
  pack32,
  toBinary,
  u32,
  withoutZeros,
} from "../bytes.ts";
import { type Density, convertDensity } from "../density.ts";
import * as exif from "../exif.ts";
import { type Metadata, cleanComment, makeMetadata } from "../metadata.ts";
import { IPTC, findIptc, readResources } from "../photoshop.ts";
import { toUtf8 } from "../xmp/tree.ts";
import {
  type Header,
  TEXT_CHUNKS,
  adaptChunk,
  chunkName,
  contentOf,
  describeChunks,
  fitChunk,
  inflate,
  isIntact,
  makeChunk,
  makeRawProfile,
  makeText,
  readChunks,
  readHeader,
  readRawProfile,
  readText,
} from "./chunks.ts";

const IMAGE_CHUNKS = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND", "iDOT"];
const XMP = "XML:com.adobe.xmp";
const XMP_IN_JPEG = "http://ns.adobe.com/xap/1.0/\0";
const COMMENT = "Comment";
const MAX_DENSITY = 2 ** 31 - 1;

/**
 * Read the metadata of a PNG.
 *
 * Profiles in ImageMagick's form become EXIF, XMP, IPTC and Photoshop's resources.
 */
export function readMetadata(data: Bytes): Metadata {
  const found = new Found(readHeader(data));
  for (const { name, bytes } of readChunks(data)) found.add(name, bytes);
  return found.metadata();
}

/** What is in the chunks of a PNG, in their order. */
class Found {
  private readonly exif: Bytes[] = [];
  private readonly xmp: Bytes[] = [];
  private readonly icc: Bytes[] = [];
  /** Content of profiles in ImageMagick's form, by kind. */
  private readonly raw = new Map<string, Bytes>();
  private readonly comments: Bytes[] = [];
  private readonly others: Bytes[] = [];
  /** Chunks that are about the old pixels. */
  private readonly dropped: Bytes[] = [];
  /** Names of chunks. */
  private readonly damaged: string[] = [];
  private readonly warnings: string[] = [];
  private density: Density | null = null;

  constructor(private readonly header: Header) {}

  /** Add a chunk. */
  add(name: string, chunk: Bytes): void {
    if (IMAGE_CHUNKS.includes(name)) return;
    if (!name) {
      const isFilled = chunk.some((byte) => ![0, 0x0d, 0x0a, 0x20].includes(byte));
      if (isFilled) this.warnings.push("what lies behind the end of the PNG is dropped");
      return;
    }
    if (!isIntact(chunk)) {
      this.damaged.push(name);
      return;
    }
    const content = contentOf(chunk);
    if (name === "eXIf") {
      this.exif.push(content);
    } else if (name === "iCCP") {
      const profile = inflate(content.subarray(content.indexOf(0) + 2));
      if (profile) this.icc.push(profile);
      else this.damaged.push(name);
    } else if (name === "pHYs") {
      this.addDensity(content);
    } else if (TEXT_CHUNKS.includes(name)) {
      this.addText(chunk);
    } else if (name === "caBX") {
      this.warnings.push("content credentials (C2PA) are dropped: they sign the original pixels");
    } else {
      const adapted = adaptChunk(chunk, this.header);
      (adapted ? this.others : this.dropped).push(adapted ?? chunk);
    }
  }

  /** Return the metadata of all chunks, with warnings of what is dropped. */
  metadata(): Metadata {
    const raw = (kind: string) => this.raw.get(kind) ?? new Uint8Array();
    const isFilled = ({ length }: Bytes) => length > 0;
    const blocks = [...this.exif, raw("exif")]
      .map((block) => (hasAt(block, exif.PREFIX) ? block.subarray(exif.PREFIX.length) : block))
      .filter(isFilled);
    const valid = blocks.filter(exif.isValid);
    if (valid.length < blocks.length) this.damaged.push("EXIF");
    const packets = [...this.xmp, raw("xmp")].filter(isFilled);
    for (const [kind, items] of [
      ["block of EXIF", valid],
      ["packet of XMP", packets],
    ] as const) {
      if (items.some((item) => !isEqual(item, items[0]))) {
        this.warnings.push(`a second ${kind} is dropped`);
      }
    }
    if (this.damaged.length) {
      const names = [...new Set(this.damaged)].join(", ");
      this.warnings.push(`damaged metadata of the PNG are dropped: ${names}`);
    }
    if (this.dropped.length) {
      const names = describeChunks(this.dropped).join(", ");
      this.warnings.push(`chunks about the original pixels are dropped: ${names}`);
    }
    let [resources, iptc] = [raw("8bim"), raw("iptc")];
    if (hasAt(iptc, "8BIM")) {
      [resources, iptc] = [resources.length ? resources : iptc, findIptc(iptc) ?? raw("")];
    }
    return makeMetadata({
      exif: valid[0] ?? null,
      xmp: packets[0] ?? null,
      icc: this.icc[0] ?? null,
      photoshop: resources.length ? resources : null,
      iptc: iptc.length ? iptc : findIptc(resources),
      density: this.density,
      comments: this.comments,
      pngChunks: this.others,
      warnings: [...new Set(this.warnings)],
    });
  }

  private addDensity(content: Bytes): void {
    const [x, y, unit] = [u32(content, 0), u32(content, 4), content[8]];
    if (content.length === 9 && x && y && unit < 2) this.density = [x, y, unit ? "m" : ""];
    else this.damaged.push("pHYs");
  }

  private addText(chunk: Bytes): void {
    const text = readText(chunk);
    if (!text) {
      this.damaged.push(chunkName(chunk));
    } else if (text.keyword === XMP) {
      if (text.data.length) this.xmp.push(text.data);
    } else if (text.keyword === COMMENT && !text.isTranslated) {
      const string = text.isUtf8 ? new TextDecoder().decode(text.data) : toBinary(text.data);
      this.comments.push(new TextEncoder().encode(string));
    } else {
      const profile = readRawProfile(text);
      if (profile) this.addRawProfile(...profile, chunk);
      else this.others.push(chunk);
    }
  }

  private addRawProfile(kind: string, content: Bytes, chunk: Bytes): void {
    const isXmp = kind === "app1" && hasAt(content, XMP_IN_JPEG);
    const name = kind === "app1" ? (isXmp ? "xmp" : "exif") : kind;
    if (!["exif", "xmp", "iptc", "8bim"].includes(name)) this.others.push(chunk);
    else if (!this.raw.has(name)) {
      this.raw.set(name, isXmp ? content.subarray(XMP_IN_JPEG.length) : content);
    }
  }
}

/** Return the chunks of metadata for a PNG of 8-bit RGB, with alpha or without. */
export function metadataChunks(metadata: Metadata, hasAlpha: boolean): Bytes[] {
  const { icc, xmp, iptc } = metadata;
  const added: Bytes[] = [];
  let { density } = metadata;
  if (!density?.[2]) density = (metadata.exif && exif.readDensity(metadata.exif)) ?? density;
  density = convertDensity(density, "m", MAX_DENSITY);
  if (icc) added.push(makeChunk("iCCP", fromBinary("ICC profile\0\0"), zlibSync(icc)));
  if (density) {
    const [x, y, unit] = density;
    added.push(makeChunk("pHYs", pack32(x), pack32(y), Uint8Array.of(unit === "m" ? 1 : 0)));
  }
  if (metadata.exif) added.push(makeChunk("eXIf", metadata.exif));
  if (xmp) {
    const packet = withoutZeros(fromBinary(toUtf8(xmp)));
    added.push(makeChunk("iTXt", fromBinary(`${XMP}\0\0\0\0\0`), packet));
  }
  if (iptc) added.push(makeRawProfile("iptc", iptc));
  const resources = otherResources(metadata);
  if (resources.length) added.push(makeRawProfile("8bim", resources));
  for (const text of metadata.comments.map(cleanComment)) {
    if (text) added.push(makeText(COMMENT, text));
  }
  // A PNG must not have both sRGB and iCCP.
  const kept = metadata.pngChunks.filter((chunk) => !icc || chunkName(chunk) !== "sRGB");
  return [...added, ...kept.map((chunk) => fitChunk(chunk, hasAlpha))];
}

/** Return Photoshop's resources without the IPTC that is written on its own. */
function otherResources({ photoshop, iptc }: Metadata): Bytes {
  const resources = photoshop ? readResources(photoshop) : [];
  const others = resources.filter(
    ({ number, content }) => number !== IPTC || !iptc || !isEqual(content, iptc),
  );
  return join(others.map(({ block }) => block));
}
