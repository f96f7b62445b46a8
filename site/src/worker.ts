// The worker of the site: the engine, and what answers the page in place of a server.

import { Colorizer } from "./engine/colorizer.ts";
import { Network } from "./engine/network.ts";
import { initCodecs } from "./files/index.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";
import { Server } from "./server/server.ts";

/** SHA-256 of each file of the codecs; the build defines it. */
declare const CODEC_HASHES: Record<string, string>;

const cancels = new Map<number, () => void>(); // of the requests that are being answered
let server: Server;
let startEngine: (colorizer: Promise<Colorizer>) => void;

initCodecs(async (file) => {
  const response = await fetch(new URL(`${file}?v=${CODEC_HASHES[file]}`, import.meta.url));
  if (!response.ok) {
    throw new Error(`${file} cannot be loaded, status ${response.status}; load the page again`);
  }
  return response.arrayBuffer();
});

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  switch (data.type) {
    case "start": {
      const colorizer = new Promise<Colorizer>((resolve) => (startEngine = resolve));
      server = new Server({ ...data, colorizer, post });
      break;
    }
    case "engine":
      startEngine(load(data.model, data.runtime));
      break;
    case "request":
      void answer(data);
      break;
    case "cancel":
      cancels.get(data.id)?.();
      break;
  }
};

async function load(model: ArrayBuffer, runtime: ArrayBuffer): Promise<Colorizer> {
  const threads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  return new Colorizer(await Network.load(model, { binary: runtime, threads }));
}

async function answer({ id, ...request }: Extract<ToWorker, { type: "request" }>): Promise<void> {
  const controller = new AbortController();
  cancels.set(id, () => controller.abort());
  const result = await server.handle(request, controller.signal);
  cancels.delete(id);
  post({ type: "answer", id, answer: result });
}

function post(message: FromWorker): void {
  self.postMessage(message);
}
