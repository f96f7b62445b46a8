// Build what the static site has beside the page's own files: src/photochrom/site/bundle.

import { readFileSync } from "node:fs";
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { Resvg, initWasm } from "@resvg/resvg-wasm";
import { build } from "esbuild";

const SITE = dirname(fileURLToPath(import.meta.url));
const STATIC = resolve(SITE, "../src/photochrom/web/static");
const BUNDLE = resolve(SITE, "../src/photochrom/site/bundle");
const MODULES = join(SITE, "node_modules");
const ORT = join(MODULES, "onnxruntime-web/dist");
const CODECS = [
  "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm",
  "@cornerstonejs/codec-libjpeg-turbo-8bit/dist/libjpegturbowasm.wasm",
];
const GROUND = "#f6f3ec"; // the page's background, around the icon where a system cuts it to a shape of its own
const OPTIONS = {
  absWorkingDir: SITE,
  bundle: true,
  minify: true,
  target: ["es2022"],
  metafile: true,
  logLevel: "warning",
  outdir: BUNDLE,
};

/** The site's own transport in place of the page's, and ONNX Runtime in a file of its own. */
const replacements = {
  name: "replacements",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/transport\.js$/ }, ({ resolveDir }) =>
      resolveDir === STATIC ? { path: join(SITE, "src/transport.ts") } : null,
    );
    // Its threads load the file that it is in, which must not be the worker's.
    onResolve({ filter: /^onnxruntime-web\/wasm$/ }, () => ({ path: "./ort.js", external: true }));
  },
};

/** Bundle the scripts, and return the npm packages that are in them. */
async function bundleScripts() {
  const modules = await build({
    ...OPTIONS,
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
  await copyFile(join(ORT, "ort.wasm.bundle.min.mjs"), join(BUNDLE, "ort.js"));
  const runtime = await readFile(join(ORT, "ort-wasm-simd-threaded.wasm"));
  // Not .gz: some hosts say of such a file that it is encoded for transfer.
  await writeFile(join(BUNDLE, "ort.wasm.gzip"), gzipSync(runtime, { level: 9 }));
  for (const path of CODECS) await copyFile(join(MODULES, path), join(BUNDLE, basename(path)));
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
      await writeFile(join(BUNDLE, `${name}-${size}.png`), draw(svg, size).asPng());
    }
  }
}

/** Write the licences of the packages; it throws an Error if one has none. */
async function writeLicences(packages) {
  const texts = [];
  for (const name of packages) {
    const { version, license } = JSON.parse(
      readFileSync(join(MODULES, name, "package.json"), "utf8"),
    );
    const files = [];
    for (const folder of [join(MODULES, name), join(MODULES, name, "codec")]) {
      const names = await readdir(folder).catch(() => []);
      files.push(...names.filter((file) => /^licen[cs]e/i.test(file)).map((file) => join(folder, file)));
    }
    if (name === "onnxruntime-web") files.push(join(SITE, "licenses/onnxruntime.txt"));
    if (!files.length) throw new Error(`the npm package ${name} has no licence file`);
    const contents = await Promise.all(files.map((file) => readFile(file, "utf8")));
    texts.push(`${name} ${version} (${license})\n\n${contents.join("\n\n").trim()}\n`);
  }
  await writeFile(join(BUNDLE, "licenses.txt"), texts.join(`\n${"-".repeat(80)}\n\n`));
}

await rm(BUNDLE, { recursive: true, force: true });
await mkdir(BUNDLE, { recursive: true });
const packages = await bundleScripts();
await copyRuntimes();
await drawIcons();
await writeLicences(packages);
