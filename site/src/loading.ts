// Loading the files of the engine, with a progress bar and a button to try again.

import { formatMegabytes, t } from "../../src/photochrom/web/static/texts.js";
import { readAddresses } from "./addresses.ts";
import { Download, LoadError } from "./download.ts";
import { startOffline } from "./offline.ts";

/** The files of the engine, unpacked. */
export interface EngineFiles {
  /** ONNX Runtime: a WebAssembly module. */
  runtime: ArrayBuffer;
  /** The network: an ONNX file. */
  model: ArrayBuffer;
}

const DELAY = 400; // ms until the bar is shown, as the files may be in the browser already
// A function of one instruction that needs SIMD: i8x16.popcnt.
const SIMD_MODULE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
]);

const $ = <Type extends HTMLElement>(id: string) => document.getElementById(id) as Type;

/**
 * Return the files of the engine; where they cannot be loaded, it waits for the user.
 *
 * @throws {TypeError} If they cannot be unpacked.
 */
export async function loadEngine(): Promise<EngineFiles> {
  if (!isSupported()) {
    showFailure(t("engine.unsupported"));
    return new Promise(() => {}); // never
  }
  const { runtime, model } = readAddresses();
  const downloads = [runtime, model].map(({ url, bytes }) => new Download(url, bytes));
  const total = runtime.bytes + model.bytes;
  const draw = () => {
    const loaded = downloads.reduce((sum, download) => sum + download.loaded, 0);
    $("engine-text").textContent = t("engine.loading", {
      loaded: formatMegabytes(loaded),
      total: formatMegabytes(total),
    });
    Object.assign($("engine-progress"), { max: total, value: loaded });
  };
  const timer = setTimeout(() => ($("engine").hidden = false), DELAY);
  for (;;) {
    draw();
    const results = await Promise.allSettled(downloads.map((download) => download.read(draw)));
    const failures = results.filter((result) => result.status === "rejected");
    if (!failures.length) break;
    const { reason } = failures[0];
    if (!(reason instanceof LoadError)) throw reason;
    showFailure(t("engine.failed"));
    await nextAttempt();
    $("engine-text").removeAttribute("role");
    $("engine-progress").hidden = false;
  }
  clearTimeout(timer);
  $("engine").hidden = true;
  const [runtimeFile, modelFile] = await Promise.all(downloads.map((download) => download.read()));
  void startOffline([
    [runtime.url, runtimeFile],
    [model.url, modelFile],
  ]);
  return { runtime: await gunzip(runtimeFile), model: modelFile };
}

function isSupported(): boolean {
  return (
    "toSorted" in Array.prototype && // the latest of what is used, of 2023
    typeof DecompressionStream !== "undefined" &&
    typeof WebAssembly !== "undefined" &&
    WebAssembly.validate(SIMD_MODULE)
  );
}

function showFailure(message: string): void {
  $("engine").hidden = false;
  $("engine-progress").hidden = true;
  $("engine-text").setAttribute("role", "alert");
  $("engine-text").textContent = message;
}

/** Wait until the user asks for another attempt, or the browser is online again. */
async function nextAttempt(): Promise<void> {
  const button = $("engine-retry");
  button.hidden = false;
  const stop = new AbortController();
  await new Promise((resolve) => {
    button.addEventListener("click", resolve, { signal: stop.signal });
    window.addEventListener("online", resolve, { signal: stop.signal });
  });
  stop.abort();
  button.hidden = true;
}

async function gunzip(content: ArrayBuffer): Promise<ArrayBuffer> {
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
