// Read photos and write them again as tests/site/test_files.py asks, a JSON object for each line.

import { openAsBlob, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { SRGB } from "../../src/engine/color.ts";
import { applyGeometry } from "../../src/engine/geometry.ts";
import {
  ZipWriter,
  initCodecs,
  outputName,
  readPhoto,
  resultWarnings,
  safeName,
  sanitizeName,
  uniqueName,
  writeResult,
} from "../../src/files/index.ts";
import { type Look, PhotoError } from "../../src/types.ts";

/** What Node.js has not of a browser. */
Object.assign(globalThis, {
  ImageData: class {
    constructor(
      readonly data: Uint8ClampedArray,
      readonly width: number,
      readonly height: number,
    ) {}
  },
});

const MODULES = new URL("./node_modules/", `file://${process.argv[2]}/`);
const CODECS = {
  "mozjpeg_dec.wasm": "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm",
  "libjpegturbowasm.wasm": "@cornerstonejs/codec-libjpeg-turbo-8bit/dist/libjpegturbowasm.wasm",
};
const LOOK: Look = {
  ...{ saturation: 1, strength: 1, size: null, mark: true, model: "", turn: 0, straighten: 0 },
  ...{ crop: null, format: null, truncated: false, hints: [] },
};

initCodecs(async (file) => readFileSync(new URL(CODECS[file], MODULES)));

/** Convert one photo; its own pixels stand for the colorized ones. */
async function convert({ path, name, look: changes, output, maxPixels = 1e8 }: Task) {
  const look = { ...LOOK, ...changes };
  const options = { truncated: look.truncated, maxPixels };
  const source = await readPhoto(await openAsBlob(path), name, options);
  const { photo } = source;
  const { width, height, isGrey, hasAlpha } = photo;
  writeFileSync(`${output}.rgba`, photo.pixels);
  const space = photo.space.matrix ? photo.space : SRGB;
  const write = { look, modelName: "test", hintCount: look.hints.length };
  const warnings = resultWarnings(source, look);
  const result = await writeResult(
    source,
    { ...applyGeometry(photo, look), space, isGrey: false },
    write,
  );
  writeFileSync(output, new Uint8Array(await result.arrayBuffer()));
  return { width, height, isGrey, hasAlpha, warnings, name: outputName(name, look) };
}

/** Write a zip file. */
async function writeZip(files: [string, string][], output: string) {
  const zip = new ZipWriter();
  const names = new Set<string>();
  for (const [name, content] of files) {
    await zip.add(uniqueName(safeName(name), names), new Blob([content]));
  }
  writeFileSync(output, new Uint8Array(await zip.finish().arrayBuffer()));
  return { sanitized: files.map(([name]) => sanitizeName(name)) };
}

interface Task {
  path: string;
  name: string;
  look: Partial<Look>;
  output: string;
  maxPixels?: number;
}

for await (const line of createInterface({ input: process.stdin })) {
  const start = performance.now();
  let answer: object;
  try {
    const task = JSON.parse(line);
    answer = await (task.files ? writeZip(task.files, task.output) : convert(task));
  } catch (error) {
    const { message, stack } = error as Error;
    const code = error instanceof PhotoError ? (error.code ?? "photo") : (stack ?? "unknown");
    answer = { error: message, code };
  }
  console.log(JSON.stringify({ ...answer, ms: Math.round(performance.now() - start) }));
}
