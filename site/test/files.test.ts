import { beforeEach, expect, test, vi } from "vitest";

import { type Bytes, fromBinary, join } from "../src/files/bytes.ts";
import { readPhoto, resultWarnings, writeResult } from "../src/files/index.ts";
import { makeMetadata, withoutPlaces } from "../src/files/metadata.ts";
import { encode as encodePng } from "../src/files/png/encoding.ts";
import { metadataChunks } from "../src/files/png/metadata.ts";
import { SRGB } from "../src/engine/color.ts";
import { srgbProfile } from "../src/engine/icc.ts";
import { DEFAULT_LOOK } from "../src/server/looks.ts";
import type { Look } from "../src/types.ts";

const BT709 = [0.64, 0.33, 0.03, 0.3, 0.6, 0.1, 0.15, 0.06, 0.79]; // x, y and z of each
const BT709_XYZ = [0.4124, 0.2126, 0.0193, 0.3576, 0.7152, 0.1192, 0.1805, 0.0722, 0.9505];
const ADOBE_XYZ = [0.5767, 0.2973, 0.027, 0.1856, 0.6274, 0.0707, 0.1882, 0.0753, 0.9911];

/** A canvas that gives back what was drawn; a file becomes one pixel. */
beforeEach(() => {
  const pixel = { width: 1, height: 1, data: Uint8ClampedArray.of(90, 90, 90, 255) };
  vi.stubGlobal("ImageData", class {
    constructor(
      readonly data: Uint8ClampedArray,
      readonly width: number,
      readonly height: number,
    ) {}
  });
  vi.stubGlobal("createImageBitmap", async (source: Blob | object) => ({
    ...(source instanceof Blob ? pixel : source),
    close() {},
  }));
  vi.stubGlobal("OffscreenCanvas", class {
    drawn!: object;
    getContext = () => ({
      clearRect() {},
      drawImage: (image: object) => (this.drawn = image),
      getImageData: () => this.drawn,
    });
  });
});

const read = (data: Bytes, name: string) =>
  readPhoto(new Blob([data]), name, { truncated: false, maxPixels: 100 });

/** Return a BMP without pixels, of version 5. */
function makeBmp(kind: string, { colors = [0], gamma = 0, profile = fromBinary("") } = {}): Bytes {
  const data = join([new Uint8Array(138), profile]);
  const view = new DataView(data.buffer);
  data.set(fromBinary("BM"));
  for (const [at, value] of [[14, 124], [18, 1], [22, 1], [38, 11811], [42, 5906]]) {
    view.setInt32(at, value, true);
  }
  data.set(fromBinary(kind), 70);
  colors.forEach((color, index) => view.setInt32(74 + 4 * index, color * 2 ** 30, true));
  for (const at of [110, 114, 118]) view.setUint32(at, gamma * 65536, true);
  view.setUint32(126, 124, true);
  view.setUint32(130, profile.length, true);
  return data;
}

test("the resolution of a BMP is kept", async () => {
  const { metadata } = await read(makeBmp("BGRs"), "a.bmp");
  expect(metadata.density).toEqual([11811, 5906, "m"]);
});

test.each([
  ["none", {}],
  ["x and y", { colors: BT709, gamma: 2.2 }],
  ["XYZ", { colors: BT709_XYZ, gamma: 2.2 }],
])("a BMP with the colours of sRGB in its header is opened: %s", async (_, options) => {
  const { metadata, warnings } = await read(makeBmp("\0\0\0\0", options), "a.bmp");
  expect([metadata.icc, warnings]).toEqual([null, []]);
});

test.each([
  ["primaries", { colors: ADOBE_XYZ, gamma: 2.2 }],
  ["white", { colors: BT709_XYZ.map((value, index) => (index < 3 ? 1.3 * value : value)) }],
  ["gamma", { colors: BT709, gamma: 1 }],
])("a BMP with other colours in its header is refused: %s", async (_, options) => {
  await expect(read(makeBmp("\0\0\0\0", options), "a.bmp")).rejects.toThrow(
    "a.bmp: the colours of the BMP are those of its header; convert it to sRGB",
  );
});

test("a BMP whose profile is another file is refused", async () => {
  const data = makeBmp("KNIL", { profile: fromBinary("C:\\wide.icc\0") });
  await expect(read(data, "a.bmp")).rejects.toThrow(
    "a.bmp has its colour profile in another file, C:\\wide.icc; embed it",
  );
});

test("the profile of a BMP is kept, and one that is cut off is said to be dropped", async () => {
  const profile = new Uint8Array(srgbProfile());
  const data = makeBmp("DEBM", { profile });
  expect((await read(data, "a.bmp")).metadata.icc).toEqual(profile);
  const { metadata, warnings } = await read(data.subarray(0, -9), "a.bmp");
  expect([metadata.icc, warnings]).toEqual([null, ["the colour profile is cut off and dropped"]]);
});

test("a WebP with an impossible size of a chunk is read up to it", async () => {
  const size = "\xf8\xff\xff\xff"; // -8 as a signed number
  const data = fromBinary(`RIFF\x24\0\0\0WEBPVP8 \x0a\0\0\0${"\0".repeat(10)}JUNK${size}`);
  const { photo } = await read(data, "a.webp");
  expect([photo.width, photo.height]).toEqual([1, 1]);
});

test("EXIF that takes several segments of a JPEG is mentioned", async () => {
  const long = join([makeExif(), new Uint8Array(65_527)]);
  const photo = { ...PIXELS, isGrey: false, hasAlpha: false, space: SRGB };
  const chunks = metadataChunks(makeMetadata({ exif: long }), false);
  const source = await read(join(encodePng(photo, false, chunks)), "a.png");
  expect(resultWarnings(source, { format: null })).toEqual([]);
  expect(resultWarnings(source, { format: "jpeg" })).toEqual([
    "EXIF takes several segments of the JPEG, of which many programs read one",
  ]);
});

/** Return content as the sub-blocks of a GIF. */
function blocks(content: Bytes): Bytes {
  const parts: Bytes[] = [];
  for (let start = 0; start < content.length; start += 255) {
    const part = content.subarray(start, start + 255);
    parts.push(Uint8Array.of(part.length), part);
  }
  return join([...parts, Uint8Array.of(0)]);
}

test.each([false, true])("metadata of a GIF are kept, at its end: %s", async (isAtEnd) => {
  const header = fromBinary("GIF89a\x01\0\x01\0\0\0\0");
  const image = fromBinary("\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x4c\x01\0");
  const profile = new Uint8Array(srgbProfile());
  const packet = fromBinary("<x:xmpmeta xmlns:x='adobe:ns:meta/'/>");
  const trailer = Uint8Array.of(1, ...Array.from({ length: 256 }, (_, index) => 255 - index), 0);
  const long = fromBinary("Zurich ".repeat(50));
  const extensions = [
    ...[fromBinary("!\xfe"), blocks(long)],
    ...[fromBinary("!\xff\x0bXMP DataXMP"), packet, trailer],
    ...[fromBinary("!\xf9\x04\0\0\0\0\0"), fromBinary("!\xff\x0bICCRGBG1012"), blocks(profile)],
    ...[fromBinary("!\xfe"), blocks(fromBinary("two")), fromBinary("!\xfe\0")],
  ];
  const parts = isAtEnd ? [image, ...extensions] : [...extensions, image];
  const { metadata } = await read(join([header, ...parts, fromBinary(";")]), "a.gif");
  expect(metadata.comments).toEqual([long, fromBinary("two")]);
  expect(metadata.xmp).toEqual(packet);
  expect(metadata.icc).toEqual(profile);
});

/** Return an EXIF block with an orientation and the fields of a GeoTIFF, each with one value. */
function makeExif(): Bytes {
  const entries = [274, 33550, 33922, 34264].map((tag) => {
    const entry = new DataView(new ArrayBuffer(12));
    [tag, 3].forEach((value, index) => entry.setUint16(2 * index, value, true));
    [1, 1].forEach((value, index) => entry.setUint32(4 + 4 * index, value, true));
    return new Uint8Array(entry.buffer);
  });
  return join([fromBinary("II*\0\x08\0\0\0\x04\0"), ...entries, new Uint8Array(4)]);
}

const PIXELS = { width: 2, height: 2, pixels: new Uint8ClampedArray(16).fill(255) };
const CHANGES = { turn: { turn: 180 }, crop: { crop: [0, 0, 2, 2] }, straighten: { straighten: 1 } };

test.each(["none", ...Object.keys(CHANGES)])("the place on the map, after: %s", async (kind) => {
  const photo = { ...PIXELS, isGrey: false, hasAlpha: false, space: SRGB };
  const chunks = metadataChunks(makeMetadata({ exif: makeExif() }), false);
  const source = await read(join(encodePng(photo, false, chunks)), "a.png");
  const look = { ...DEFAULT_LOOK, ...CHANGES[kind as keyof typeof CHANGES] } as Look;
  const blob = await writeResult(source, photo, { look, modelName: "tiny", hintCount: 0 });
  const result = await read(new Uint8Array(await blob.arrayBuffer()), "a.png");
  const view = new DataView(result.metadata.exif!.slice().buffer);
  const tags = Array.from({ length: view.getUint16(8, true) }, (_, index) =>
    view.getUint16(10 + 12 * index, true),
  );
  expect(tags).toEqual(kind === "none" ? [274, 33550, 33922, 34264] : [274]);
});

test("a place on the map that is dropped is said once", () => {
  const metadata = withoutPlaces(makeMetadata({ exif: makeExif() }));
  expect(metadata.warnings).toEqual(["the place on the map (GeoTIFF) is dropped"]);
  expect(withoutPlaces({ ...metadata, warnings: [] }).warnings).toEqual([]);
});
