import { beforeEach, expect, test, vi } from "vitest";

import type { FromWorker, KeptPhoto, ToWorker } from "../src/protocol.ts";

let workers: FakeWorker[];
let photos: Map<string, KeptPhoto>;
let load: () => Promise<never>;
let transport: typeof import("../src/transport.ts");

class FakeWorker {
  onmessage!: (event: { data: FromWorker }) => void;
  readonly posted: ToWorker[] = [];

  constructor() {
    workers.push(this);
  }

  postMessage(message: ToWorker) {
    this.posted.push(message);
  }

  terminate() {}
}

vi.mock("../src/loading.ts", () => ({ loadEngine: () => load() }));
vi.mock("../src/session.ts", () => ({
  openSession: async () => ({
    photos,
    gone: null,
    keep: (photo: KeptPhoto) => photos.set(photo.id, photo),
    setWorking() {},
  }),
  describeCrash: (name: string) => ({ error: `the work on ${name} was broken off`, code: "server" }),
}));

/** Wait until all that was begun is done. */
const finish = () => new Promise((resolve) => setTimeout(resolve));

/** Send messages of the worker that runs. */
async function receive(...messages: FromWorker[]): Promise<void> {
  const worker = workers.at(-1)!;
  for (const data of messages) worker.onmessage({ data });
  await finish();
}

/** Ask for the photos, and answer as the worker. */
async function poll(): Promise<void> {
  const response = transport.send("photos");
  await finish();
  const { id } = workers.at(-1)!.posted.at(-1) as Extract<ToWorker, { type: "request" }>;
  await receive({ type: "answer", id, answer: { status: 200, headers: {}, body: "{}" } });
  expect((await response).status).toBe(200);
}

beforeEach(async () => {
  workers = [];
  load = () => new Promise(() => {});
  photos = new Map([["a", { id: "a", name: "a.jpg", failure: null } as KeptPhoto]]);
  vi.spyOn(console, "error").mockImplementation(() => {});
  vi.stubGlobal("Worker", FakeWorker);
  vi.stubGlobal("navigator", {});
  const dataset = { model: "tiny", files: '{"worker": {"url": "worker.js"}}' };
  vi.stubGlobal("document", { body: { dataset }, querySelector: () => null });
  vi.resetModules();
  transport = await import("../src/transport.ts");
  await finish();
});

test("the photo that has broken the engine is not tried again by the next worker", async () => {
  await receive(
    { type: "working", photo: "a" },
    { type: "working", photo: null },
    { type: "broken", error: "unreachable", photo: "a" },
  );
  expect(workers).toHaveLength(2);
  const [message] = workers[1].posted as Extract<ToWorker, { type: "start" }>[];
  expect(message.photos[0].failure?.error).toBe("the work on a.jpg was broken off");
});

test("workers that make nothing are counted, whatever they answer", async () => {
  for (let count = 0; count < 3; count++) {
    await poll();
    await receive({ type: "broken", error: "Aborted()", photo: null });
  }
  expect(workers).toHaveLength(3);
  const response = await transport.send("photos");
  expect(response.status).toBe(500);
  expect((await response.json()).detail).toContain("the engine cannot be started");
});

test("workers that have made something are not counted", async () => {
  for (let count = 0; count < 4; count++) {
    await receive({ type: "made" }, { type: "broken", error: "unreachable", photo: null });
  }
  expect(workers).toHaveLength(5);
  await poll();
});

test("an engine that cannot be unpacked is said, after some attempts", async () => {
  vi.resetModules();
  load = () => Promise.reject(new TypeError("the compressed data were not valid"));
  transport = await import("../src/transport.ts");
  const response = await transport.send("photos");
  await finish();
  expect([500, 503]).toContain(response.status);
  const last = await transport.send("photos");
  expect(last.status).toBe(500);
  expect((await last.json()).detail).toContain("the engine cannot be started in this browser");
});
