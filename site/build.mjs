// Build what the static site has beside the page's own files: src/photochrom/site/bundle.

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { copyFile, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { Resvg, initWasm } from "@resvg/resvg-wasm";
import { build } from "esbuild";

const SITE = dirname(fileURLToPath(import.meta.url));
const STATIC = resolve(SITE, "../src/photochrom/web/static");
const BUNDLE = resolve(SITE, "../src/photochrom/site/bundle");
const OUTPUT = join(SITE, "node_modules/.bundle");
const MODULES = join(SITE, "node_modules");
const LICENSES = join(SITE, "licenses");
const ORT = join(MODULES, "onnxruntime-web/dist");
const CODECS = [
  "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm",
  "@cornerstonejs/codec-libjpeg-turbo-8bit/dist/libjpegturbowasm.wasm",
];
// The page's background, around the icon where a system gives it another shape.
const GROUND = "#f6f3ec";
const VERSION = /__version__ = "(.+)"/.exec(
  readFileSync(resolve(SITE, "../src/photochrom/version.py"), "utf8"),
)[1];
const OPTIONS = {
  absWorkingDir: SITE,
  define: { PHOTOCHROM_VERSION: JSON.stringify(VERSION) },
  bundle: true,
  minify: true,
  target: ["es2022"],
  metafile: true,
  logLevel: "warning",
  outdir: OUTPUT,
};

/** Return the SHA-256 of a file in OUTPUT, for an address that changes with the content. */
function hashOf(name) {
  return createHash("sha256").update(readFileSync(join(OUTPUT, name))).digest("hex");
}

/** The site's own transport in place of the page's, and ONNX Runtime in a file of its own. */
const replacements = {
  name: "replacements",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/transport\.js$/ }, ({ resolveDir }) =>
      resolveDir === STATIC ? { path: join(SITE, "src/transport.ts") } : null,
    );
    // Its threads load the file that it is in, which must not be the worker's.
    onResolve({ filter: /^onnxruntime-web\/wasm$/ }, () => ({
      path: `./ort.js?v=${hashOf("ort.js")}`,
      external: true,
    }));
  },
};

/** Bundle the scripts, after `copyRuntimes`, and return the npm packages that are in them. */
async function bundleScripts() {
  const codecs = CODECS.map((path) => basename(path));
  const hashes = Object.fromEntries(codecs.map((name) => [name, hashOf(name)]));
  const modules = await build({
    ...OPTIONS,
    define: { ...OPTIONS.define, CODEC_HASHES: JSON.stringify(hashes) },
    entryPoints: ["src/page.ts", "src/worker.ts"],
    format: "esm",
    external: ["fs", "path", "crypto"], // of Node.js, where codecs look whether they run there
    plugins: [replacements],
  });
  const scripts = await build({
    ...OPTIONS,
    entryPoints: ["src/start.ts", "src/service_worker.ts"],
    format: "iife",
  });
  const inputs = [modules, scripts].flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const names = inputs.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
  return [...new Set([...names.filter(Boolean), "onnxruntime-web"])].sort();
}

async function copyRuntimes() {
  await copyFile(join(ORT, "ort.wasm.bundle.min.mjs"), join(OUTPUT, "ort.js"));
  const runtime = await readFile(join(ORT, "ort-wasm-simd-threaded.wasm"));
  // Not .gz: some hosts say of such a file that it is encoded for transfer.
  await writeFile(join(OUTPUT, "ort.wasm.gzip"), gzipSync(runtime, { level: 9 }));
  for (const path of CODECS) await copyFile(join(MODULES, path), join(OUTPUT, basename(path)));
}

/** Draw the icons of the installed page from icon.svg. */
async function drawIcons() {
  await initWasm(await readFile(join(MODULES, "@resvg/resvg-wasm/index_bg.wasm")));
  const icon = await readFile(join(STATIC, "icon.svg"), "utf8");
  const draw = (svg, size) => new Resvg(svg, { fitTo: { mode: "width", value: size } }).render();
  // The middle 80 % of a maskable icon are always visible.
  const maskable = icon
    .replace('viewBox="0 0 64 64"', 'viewBox="-14 -14 92 92"')
    .replace(">", `><path fill="${GROUND}" d="M-14-14h92v92h-92z"/>`);
  for (const [name, svg] of Object.entries({ icon, "icon-maskable": maskable })) {
    for (const size of [192, 512]) {
      await writeFile(join(OUTPUT, `${name}-${size}.png`), draw(svg, size).asPng());
    }
  }
}

/** Write the licences of the packages, of which some have none in their files. */
async function writeLicences(names) {
  const texts = [];
  for (const name of names) {
    const folder = join(MODULES, name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const own = `${name.replace("@", "").replace("/", "-")}.txt`;
    const files = [
      ...(await findLicences(folder)),
      ...(await findLicences(join(folder, "codec"))),
      ...(await readdir(LICENSES)).filter((file) => file === own).map((file) => join(LICENSES, file)),
    ];
    if (!files.length) throw new Error(`${name} has no licence file; add site/licenses/${own}`);
    const contents = await Promise.all(files.map((file) => readFile(file, "utf8")));
    texts.push(`${name} ${version} (${license})\n\n${contents.join("\n\n").trim()}\n`);
  }
  await writeFile(join(OUTPUT, "licenses.txt"), texts.join(`\n${"-".repeat(80)}\n\n`));
}

/** Return the licence files in a folder, none if there is no such folder. */
async function findLicences(folder) {
  const files = existsSync(folder) ? await readdir(folder) : [];
  return files.filter((file) => /^licen[cs]e/i.test(file)).map((file) => join(folder, file));
}

await rm(OUTPUT, { recursive: true, force: true });
await mkdir(OUTPUT, { recursive: true });
await copyRuntimes();
const packages = await bundleScripts();
await drawIcons();
await writeLicences(packages);
await rm(BUNDLE, { recursive: true, force: true });
await rename(OUTPUT, BUNDLE); // only now, as an error leaves the last bundle in its place
