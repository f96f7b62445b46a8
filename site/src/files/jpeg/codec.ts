// Decoding and encoding of JPEGs by codecs in WebAssembly.

import loadEncoder from "@cornerstonejs/codec-libjpeg-turbo-8bit/wasmjs";
import loadDecoder from "@jsquash/jpeg/codec/dec/mozjpeg_dec.js";

import { type Image, PhotoError } from "../../types.ts";
import type { Bytes } from "../bytes.ts";
import { readHeader } from "./header.ts";
import { CHROMINANCE, LUMINANCE, type Tables } from "./tables.ts";

/** Files of the codecs. */
export type CodecFile = "mozjpeg_dec.wasm" | "libjpegturbowasm.wasm";
type Load = (file: CodecFile) => Promise<BufferSource>;

/** From it on libjpeg-turbo uses the exact transform; the steps are scaled by 8 %. */
const QUALITY = 96;
const STEP_SCALE = 12.5;
const NO_SUBSAMPLING = 0;
const MAX_SIDE = 65500; // px, of libjpeg
const SMALLEST_BUFFER = 1 << 14; // bytes, for the header of a small image
const LARGEST_SHARE = 4; // of a result in the bytes of its pixels
const MAX_BUFFER = 2 ** 31 - 2 ** 24; // bytes

/** An image that a decoder refuses. */
export class DecodingError extends Error {}

let load: Load = () => Promise.reject(new Error("initCodecs was not called"));
const compiled = new Map<CodecFile, Promise<WebAssembly.Module>>();

/** Say how the files of the codecs are loaded; each is at its first use. */
export function initCodecs(loadFile: Load): void {
  load = loadFile;
  compiled.clear();
}

/**
 * Decode a JPEG of grey or of three channels, not turned.
 *
 * Throws a `RangeError` if there is not enough memory, and a `DecodingError` if it is damaged.
 */
export async function decode(data: Uint8Array): Promise<Image> {
  const messages: string[] = [];
  // A new instance each time, as its memory never shrinks, and an error ends it.
  const decoder = await loadDecoder(await instantiate("mozjpeg_dec.wasm", messages));
  try {
    const { width, height, data: pixels } = decoder.decode(data, false);
    return { width, height, pixels: pixels as Uint8ClampedArray };
  } catch (error) {
    if (isOfMemory(error, messages)) throw new RangeError("out of memory while decoding a JPEG");
    throw new DecodingError(messages.at(-1) ?? String(error));
  }
}

/**
 * Encode a photo as a baseline JPEG without chroma subsampling, without alpha and metadata.
 *
 * @param isGrey Whether it becomes a JPEG of one channel, the red one.
 *
 * Throws a `RangeError` if there is not enough memory, and a `PhotoError` if it is too wide or
 * high.
 */
export async function encode(photo: Image, tables: Tables, isGrey = false): Promise<Bytes> {
  const { width, height } = photo;
  if (Math.max(width, height) > MAX_SIDE) {
    throw new PhotoError(
      `the result has ${width}x${height} pixels, and a JPEG has at most ${MAX_SIDE} on a side; ` +
        "crop the photo, or save it as PNG before",
    );
  }
  try {
    return await encodeInto(photo, tables, isGrey, SMALLEST_BUFFER);
  } catch (error) {
    // Its buffer was too small, which is rare: the result has more bytes than the pixels.
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
  }
  try {
    const size = LARGEST_SHARE * 3 * width * height;
    return await encodeInto(photo, tables, isGrey, Math.max(SMALLEST_BUFFER, size));
  } catch (error) {
    if (isOfMemory(error)) throw new RangeError("out of memory while encoding a JPEG");
    throw new PhotoError(`a JPEG of ${width}x${height} pixels cannot be written: ${error}`);
  }
}

/** Encode with a buffer of at least `size` bytes. */
async function encodeInto(
  { width, height, pixels }: Image,
  tables: Tables,
  isGrey: boolean,
  size: number,
): Promise<Bytes> {
  const { JPEGEncoder } = await loadEncoder(await instantiate("libjpegturbowasm.wasm"));
  const encoder = new JPEGEncoder();
  encoder.setProgressive(0);
  encoder.setQuality(QUALITY);
  encoder.setSubSampling(NO_SUBSAMPLING);
  const [componentCount, bytes] = bufferShape(width * height, isGrey, size);
  if (width * height * componentCount * bytes > MAX_BUFFER) {
    throw new RangeError("out of memory: the photo is larger than WebAssembly's");
  }
  const frame = { width, height, bitsPerSample: 8 * bytes, componentCount, isSigned: false };
  const input = encoder.getDecodedBuffer(frame);
  setTables(input.buffer, tables);
  copyChannels(pixels, input, isGrey ? 1 : 3);
  encoder.encode();
  const { buffer, byteOffset, length } = encoder.getEncodedBuffer();
  const encoded = new Uint8Array(buffer, byteOffset, length);
  checkTables(encoded, tables);
  return encoded;
}

/**
 * Return components and bytes of a sample that make the encoder's buffers at least `size` long.
 *
 * It takes the first bytes of its input as 8 bits of grey if there is one component, else of RGB.
 */
function bufferShape(pixels: number, isGrey: boolean, size: number): [number, number] {
  const least = Math.ceil(size / pixels);
  const count = isGrey ? 1 : Math.min(255, Math.max(3, least));
  return [count, Math.min(31, Math.max(1, Math.ceil(least / count)))];
}

/** Tell whether an error says that there is no more memory; a codec throws it in many forms. */
function isOfMemory(error: unknown, messages: readonly string[] = []): boolean {
  if (error instanceof RangeError) return true;
  const texts = [...messages, String(error)];
  return texts.some((text) => /memory|out of bounds|OOM|allocation/iu.test(text));
}

/** Compile a codec once, and return options that make an instance of it. */
async function instantiate(file: CodecFile, messages: string[] = []): Promise<EmscriptenOptions> {
  const module = compiled.get(file) ?? load(file).then((bytes) => WebAssembly.compile(bytes));
  compiled.set(file, module);
  module.catch(() => compiled.delete(file)); // so that it is loaded again
  const ready = await module;
  return {
    noInitialRun: true,
    printErr: (text) => messages.push(text),
    instantiateWasm: (imports, onInstance) => {
      const instance = new WebAssembly.Instance(ready, imports);
      onInstance(instance);
      return instance.exports;
    },
  };
}

/**
 * Replace the tables K.1 and K.2 of the encoder, of which it takes a quality alone, by others.
 *
 * They are found by their values in its memory; `checkTables` makes sure of the effect.
 */
function setTables(memory: ArrayBuffer, tables: Tables): void {
  const words = new Uint32Array(memory);
  [LUMINANCE, CHROMINANCE].forEach((standard, index) => {
    let at = words.indexOf(standard[0]);
    while (at >= 0 && !standard.every((step, offset) => words[at + offset] === step)) {
      at = words.indexOf(standard[0], at + 1);
    }
    if (at < 0) throw new Error("the JPEG encoder has no standard table");
    words.set(
      tables[index].map((step) => Math.floor(STEP_SCALE * step)),
      at,
    );
  });
}

function checkTables(encoded: Bytes, tables: Tables): void {
  const header = readHeader(encoded);
  header?.components.forEach(({ table }, index) => {
    const wanted = tables[index ? 1 : 0];
    if (String(header.tables.get(table)) !== String(wanted)) {
      throw new Error("the JPEG encoder did not use the tables it was given");
    }
  });
}

function copyChannels(pixels: Uint8ClampedArray, output: Uint8Array, count: number): void {
  for (let from = 0, to = 0; from < pixels.length; from += 4, to += count) {
    output[to] = pixels[from];
    if (count === 1) continue;
    output[to + 1] = pixels[from + 1];
    output[to + 2] = pixels[from + 2];
  }
}
