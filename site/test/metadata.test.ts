import { deflateSync } from "node:zlib";
import { expect, test } from "vitest";

import { type Bytes, fromBinary, isEqual, join, toBinary } from "../src/files/bytes.ts";
import { convertDensity } from "../src/files/density.ts";
import { crop as cropExif, makeUpright as turnExif } from "../src/files/exif.ts";
import { readHeader } from "../src/files/jpeg/header.ts";
import { readMetadata } from "../src/files/jpeg/metadata.ts";
import { makeSegment } from "../src/files/jpeg/segments.ts";
import { makeMetadata } from "../src/files/metadata.ts";
import { makeUpright as turnResources } from "../src/files/photoshop.ts";
import { inflate, makeChunk, readRawProfile } from "../src/files/png/chunks.ts";
import { checkColors } from "../src/files/png/color.ts";
import { Crop, Turn } from "../src/files/turning.ts";
import { crop as cropXmp, makeUpright as turnXmp, setMark } from "../src/files/xmp/packet.ts";

const RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/";

/** Return a packet with a description of some content. */
const describe = (content: string): Bytes =>
  fromBinary(
    `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="${RDF}"><rdf:Description ` +
      `rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:e="${IPTC}">${content}` +
      "</rdf:Description></rdf:RDF></x:xmpmeta>",
  );

/** Return a JPEG of 8x8 px without a scan's data, with segments before its frame. */
const makeJpeg = (...segments: Bytes[]): Bytes =>
  join([
    fromBinary("\xff\xd8"),
    ...segments,
    makeSegment(0xc0, fromBinary("\x08\0\x08\0\x08\x03\x01\x11\0\x02\x11\0\x03\x11\0")),
    makeSegment(0xda, fromBinary("\x03\x01\0\x02\0\x03\0\0\x3f\0")),
    fromBinary("\0\xff\xd9"),
  ]);

test("an element of XMP that is not closed is not removed with what follows it", () => {
  const packet = describe("<xmp:Thumbnails><rdf:Alt>");
  expect(toBinary(turnXmp(packet, new Turn(1, 8, 8)))).toBe(toBinary(packet));
});

test("an element with the name of a property of objects is kept", () => {
  const packet = describe("<constructor>1</constructor>");
  expect(toBinary(turnXmp(packet, new Turn(6, 8, 8)))).toBe(toBinary(packet));
  const [cropped] = cropXmp(packet, new Crop(8, 8, 0, [0, 0, 4, 4]));
  expect(toBinary(cropped)).toBe(toBinary(packet));
});

test("XMP of many levels is read", () => {
  const packet = describe(`<e:ImageRegion>${"<e:a>".repeat(20_000)}</e:ImageRegion>`);
  expect(isEqual(turnXmp(packet, new Turn(6, 8, 8)), packet)).toBe(true);
});

test("the mark closes an RDF that was a single tag", () => {
  const packet = `<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:rdf="${RDF}"><rdf:RDF/></x:xmpmeta>`;
  const marked = toBinary(setMark(fromBinary(packet), "colours added")!);
  expect(marked).toContain('photochrom:colorized="colours added"');
  expect(marked).toMatch(/\/><\/rdf:RDF><\/x:xmpmeta>$/u);
});

test("a long profile in ImageMagick's form is read", () => {
  const data = fromBinary(`\n8bim\n 6000000\n${"07".repeat(6e6)}\n`);
  const text = { keyword: "Raw profile type 8bim", data, isUtf8: false, isTranslated: false };
  const [kind, content] = readRawProfile(text)!;
  expect([kind, content.length, content.every((byte) => byte === 7)]).toEqual(["8bim", 6e6, true]);
});

test("a text that would take too much memory is not decompressed", () => {
  expect(inflate(new Uint8Array(deflateSync(new Uint8Array(2 ** 26 + 1))))).toBeNull();
});

test("primaries of zeros are dropped, as the program does", () => {
  const metadata = makeMetadata({ pngChunks: [makeChunk("cHRM", new Uint8Array(32))] });
  expect(checkColors(metadata, "a.png", false)).toMatchObject({
    pngChunks: [],
    warnings: ["the colours in gAMA and cHRM are not plausible and are dropped"],
  });
});

test("of a path of Photoshop, a point that cannot be turned leaves the others as they are", () => {
  const record = (selector: number, value: number) => {
    const view = new DataView(new ArrayBuffer(26));
    view.setUint16(0, selector);
    for (let at = 2; at < 26; at += 4) view.setInt32(at, value);
    return new Uint8Array(view.buffer);
  };
  const path = join([record(1, 2 ** 22), record(1, -(2 ** 31)), record(1, 2 ** 23)]);
  const header = fromBinary("8BIM\x07\xd0\0\0\0\0\0\x4e");
  const turned = turnResources(join([header, path]), new Turn(3, 8, 8));
  const expected = join([record(1, 3 * 2 ** 22), record(1, -(2 ** 31)), record(1, 2 ** 23)]);
  expect(turned).toEqual(join([header, expected]));
});

/** Return EXIF with a SubjectLocation of bytes, which hold places up to 255. */
function makeSubject(x: number, y: number): Bytes {
  const data = new Uint8Array(44);
  const view = new DataView(data.buffer);
  data.set(fromBinary("II*\0\x08"));
  [1, 34665, 4].forEach((value, index) => view.setUint16(8 + 2 * index, value, true));
  [1, 26].forEach((value, index) => view.setUint32(14 + 4 * index, value, true));
  [1, 41492, 1].forEach((value, index) => view.setUint16(26 + 2 * index, value, true));
  view.setUint32(32, 2, true);
  data.set([x, y], 36);
  return data;
}

test("the place of a subject that its field cannot hold stays as it is", () => {
  const block = makeSubject(10, 20);
  expect(turnExif(block, new Turn(3, 400, 300))).toEqual(block);
  expect(turnExif(block, new Turn(3, 200, 100))).toEqual(makeSubject(189, 79));
  const other = makeSubject(60, 200); // would be moved to 137, 284
  expect(cropExif(other, new Crop(400, 300, -45, [0, 0, 400, 300]))).toEqual(other);
});

test("a resolution is rounded as by Python", () => {
  expect(convertDensity([7500, 12500, "m"], "inch", 65535)).toEqual([190, 318, "inch"]);
  expect(convertDensity([0.5, 0.5, "inch"], "inch", 65535)).toBeNull();
});

test("IPTC without content is none", () => {
  const resources = fromBinary("Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\0");
  expect(readMetadata(makeJpeg(makeSegment(0xed, resources))).iptc).toBeNull();
});

test("what lies behind a JPEG is counted without padding", () => {
  const trailer = fromBinary(`unknown${"\0".repeat(50)}\r\n`);
  expect(readMetadata(join([makeJpeg(), trailer])).warnings).toEqual([
    "7 bytes behind the end of the image are dropped",
  ]);
  expect(readMetadata(join([makeJpeg(), new Uint8Array(50)])).warnings).toEqual([]);
});

test("a segment of Adobe that is too short says nothing of the colours", () => {
  expect(readHeader(makeJpeg(makeSegment(0xee, fromBinary("Adobe\0\x64"))))!.hasLuma).toBe(true);
});
