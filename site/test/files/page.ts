// Photos that the browser itself decodes, read in a page for tests/site/test_files.py.

import { readPhoto } from "../../src/files/index.ts";

const encode = (bytes: Uint8Array) =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

/** Read a file in base64; its pixels are returned so as well. */
async function read(text: string, name: string, maxPixels: number) {
  const data = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  try {
    const source = await readPhoto(new Blob([data]), name, { truncated: false, maxPixels });
    const { width, height, pixels, hasAlpha } = source.photo;
    const { format, warnings, metadata } = source;
    const icc = metadata.icc && encode(metadata.icc);
    return {
      width,
      height,
      hasAlpha,
      format,
      warnings,
      icc,
      pixels: encode(new Uint8Array(pixels)),
    };
  } catch (error) {
    return { error: String(error) };
  }
}

Object.assign(globalThis, { read });
