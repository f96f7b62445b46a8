// The page's contact with the worker; the site's counterpart of static/transport.js.

import { readAddresses } from "./addresses.ts";
import { loadEngine } from "./loading.ts";
import type { Answer, FromWorker, ToWorker } from "./protocol.ts";
import { describeCrash, openSession } from "./session.ts";

const ROUTES = /^(photos|archives)(\/|\?|$)/; // other addresses are files of the site
const MAX_DEATHS = 3; // of workers one after the other whose engine has made nothing
const SMALL_MEMORY = 4; // GiB of a device
const BUSY: Answer = { status: 503, headers: { "Retry-After": "1" }, body: null };
const NO_ENGINE = "the engine cannot be started in this browser; load the page again";
const NO_WORKER: Answer = {
  status: 500,
  headers: {},
  body: JSON.stringify({ detail: NO_ENGINE }),
};

type Request = Omit<Extract<ToWorker, { type: "request" }>, "id" | "type">;

const session = openSession();
const pending = new Map<number, (answer: Answer) => void>();
let worker: Worker | null = null; // null: it cannot be started
let working: string | null = null; // ID of the photo that is worked on
let requests = 0;
let deaths = 0; // since the engine has made something
let started = start();

/** Start a worker with the photos of the session. */
async function start(): Promise<void> {
  const { photos, gone } = await session;
  const memory = (navigator as { deviceMemory?: number }).deviceMemory ?? Infinity;
  const current = new Worker(readAddresses().worker.url, { type: "module" });
  worker = current;
  current.onmessage = ({ data }) => void receive(current, data);
  current.onerror = (event) => {
    event.preventDefault(); // it is reported here
    void restart(current, event.message, working);
  };
  post({
    type: "start",
    photos: [...photos.values()],
    gone,
    model: {
      name: document.body.dataset.model!,
      takesHints: !document.querySelector("#option-model option[data-hints=false]"),
    },
    memory: memory < SMALL_MEMORY ? 96e6 : 256e6,
  });
  loadEngine().then(
    ({ runtime, model }) => {
      if (worker === current) post({ type: "engine", runtime, model }, [runtime, model]);
    },
    (error: unknown) => void restart(current, `its engine cannot be unpacked: ${error}`, null),
  );
}

/** Start another worker in place of one that is dead or cannot go on; the page asks it again. */
async function restart(dead: Worker, reason: string, blamed: string | null): Promise<void> {
  if (dead !== worker) return;
  console.error(`the worker has ended: ${reason}`);
  dead.terminate();
  worker = null;
  const { photos, keep } = await session;
  const photo = photos.get(blamed ?? "");
  if (photo) keep({ ...photo, failure: describeCrash(photo.name) });
  working = null;
  if (++deaths < MAX_DEATHS) started = start();
  for (const [id, answer] of pending) {
    pending.delete(id);
    answer(deaths < MAX_DEATHS ? BUSY : NO_WORKER);
  }
}

async function receive(from: Worker, message: FromWorker): Promise<void> {
  if (from !== worker) return;
  const { keep, forget, setWorking } = await session;
  switch (message.type) {
    case "answer":
      pending.get(message.id)?.(message.answer);
      pending.delete(message.id);
      break;
    case "keep":
      keep(message.photo);
      break;
    case "forget":
      forget(message.ids);
      break;
    case "working":
      working = message.photo;
      setWorking(working);
      break;
    case "made":
      deaths = 0;
      break;
    case "broken":
      await restart(from, message.error, message.photo);
      break;
  }
}

function post(message: ToWorker, transfer: Transferable[] = []): void {
  worker?.postMessage(message, transfer);
}

async function ask(request: Request, signal?: AbortSignal): Promise<Answer> {
  signal?.throwIfAborted();
  await started;
  signal?.throwIfAborted();
  if (!worker) return NO_WORKER;
  const id = requests++;
  return new Promise((resolve, reject) => {
    const cancel = () => {
      pending.delete(id);
      post({ type: "cancel", id });
      reject(signal!.reason);
    };
    signal?.addEventListener("abort", cancel, { once: true });
    pending.set(id, (answer) => {
      signal?.removeEventListener("abort", cancel);
      resolve(answer);
    });
    post({ type: "request", id, ...request });
  });
}

/** Return the response to a request; `signal` aborts it with a DOMException. */
export async function send(
  path: string,
  options: { method?: string; json?: unknown; signal?: AbortSignal } = {},
): Promise<Response> {
  const { method = "GET", json, signal } = options;
  if (!ROUTES.test(path)) return fetch(path, { signal });
  const { body, ...init } = await ask({ method, path, json }, signal);
  return new Response(body, init);
}

/** Add a file, and return `status`, `responseText` and `retryAfter` of the response. */
export async function sendFile(
  path: string,
  file: File,
  _onProgress: (percent: number) => void,
  signal: AbortSignal,
): Promise<{ status: number; responseText: string; retryAfter: string | null }> {
  try {
    const { status, headers, body } = await ask({ method: "POST", path, file }, signal);
    return { status, responseText: String(body), retryAfter: headers["Retry-After"] ?? null };
  } catch (error) {
    if (!signal.aborted) throw error;
    return { status: 0, responseText: "", retryAfter: null };
  }
}

/** Save the response to a GET request as a file. */
export async function saveResponse(path: string, name: string): Promise<void> {
  const response = await send(path);
  if (!response.ok) return; // the page asks for the state of the archive, and shows its error
  const href = URL.createObjectURL(await response.blob());
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // after the browser has read it
}
