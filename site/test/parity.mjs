// Colorize photos with the engine of the site, for `benchmarks/site_parity.py` and the tests.
//
// Reads one job a line from standard input, as JSON: width, height, isGrey, hasAlpha, pixels (a
// file of RGBA), icc (a file, or null), look, and ab and result (files to write: ab of the
// network's size as float32, and RGBA). Answers each with a line of JSON: size of the result, size
// of ab, and CPU time of the steps in seconds; or an error.

import { readFile, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const outfile = path(`../node_modules/.cache/photochrom/parity-${process.pid}.mjs`);
const MODULES = [
  "color", "colorizer", "geometry", "hints", "icc", "network", "options", "rendering",
];
const contents = MODULES.map((name) => `export * from "./src/engine/${name}.ts";`).join("\n");
await build({
  stdin: { contents, resolveDir: path("..") },
  bundle: true,
  format: "esm",
  platform: "node",
  external: ["onnxruntime-web"],
  outfile,
});
const {
  applyGeometry,
  applyProfile,
  checkOptions,
  Colorizer,
  Network,
  placeHints,
  render,
  SRGB,
} = await import(outfile);
await rm(outfile);

const binary = await readFile(
  path("../node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"),
);
const model = await readFile(process.argv[2]);
const colorizer = new Colorizer(await Network.load(model, { binary, threads: 1 }));

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = await colorize(JSON.parse(line));
  } catch (error) {
    answer = { error: error.message };
  }
  console.log(JSON.stringify(answer));
}

/** Return seconds of CPU time of this process. */
function cpuTime() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

async function colorize(job) {
  const decoded = {
    width: job.width,
    height: job.height,
    pixels: new Uint8ClampedArray(await readFile(job.pixels)),
    isGrey: job.isGrey,
    hasAlpha: job.hasAlpha,
    space: SRGB,
  };
  const { photo } = applyProfile(decoded, job.icc && (await readFile(job.icc)));
  checkOptions(job.look);
  const times = [cpuTime()];
  const changed = applyGeometry(photo, job.look);
  times.push(cpuTime());
  const prepared = await colorizer.prepare(changed, job.look.size);
  times.push(cpuTime());
  const hints = placeHints(job.look.hints, [photo.width, photo.height], job.look);
  const coefficients = await colorizer.predict(prepared, hints, photo.space);
  times.push(cpuTime());
  const result = render(changed, coefficients, job.look);
  times.push(cpuTime());
  const ab = await colorizer.predictWithHints(prepared, hints, photo.space);
  await writeFile(job.ab, ab.data);
  await writeFile(job.result, result.pixels);
  return {
    size: [result.width, result.height],
    abSize: [ab.width, ab.height],
    seconds: times.slice(1).map((time, i) => time - times[i]),
  };
}
