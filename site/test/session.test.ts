import { beforeEach, expect, test, vi } from "vitest";

import type { KeptPhoto } from "../src/protocol.ts";
import type { Session } from "../src/session.ts";

type Key = string | string[];

const STORES = ["sessions", "photos", "files"];
let records: Record<string, Map<string, unknown>>; // by store, and by key as JSON
let opened: number;
let isClosed: boolean; // by the browser, until it is opened again
let failure: DOMException | null; // of whatever is asked

const answer = (result: unknown) => ({
  result,
  set onsuccess(act: () => void) {
    setTimeout(act);
  },
});

function makeStore(name: string) {
  const stored = records[name];
  const keysIn = (range: (key: Key) => boolean) =>
    [...stored.keys()].filter((key) => range(JSON.parse(key)));
  return {
    get: (key: Key) => answer(stored.get(JSON.stringify(key))),
    getAll: (range = () => true) => answer(keysIn(range).map((key) => stored.get(key))),
    getAllKeys: (range = () => true) => answer(keysIn(range).map((key) => JSON.parse(key))),
    put: (value: unknown, key: Key) => void stored.set(JSON.stringify(key), value),
    delete: (range: (key: Key) => boolean) => keysIn(range).forEach((key) => stored.delete(key)),
  };
}

function openDatabase() {
  if (failure && opened) throw failure;
  opened++;
  isClosed = false;
  const transaction = () => {
    if (isClosed) throw new DOMException("the connection is closing", "InvalidStateError");
    if (failure) throw failure;
    return { objectStore: makeStore };
  };
  return answer({ transaction });
}

/** Return a session of a new page, with the storage of the tab. */
async function openSession(): Promise<Session> {
  vi.resetModules();
  return (await import("../src/session.ts")).openSession();
}

/** Wait until all that was begun is done. */
const finish = () => new Promise((resolve) => setTimeout(resolve, 20));

const makePhoto = (id: string): KeptPhoto => ({
  id,
  name: `${id}.jpg`,
  file: new Blob([id]),
  look: {} as KeptPhoto["look"],
  number: 1,
  info: null,
  failure: null,
});
const idsIn = (store: string) => [...records[store].keys()].map((key) => JSON.parse(key)[1]);

beforeEach(() => {
  vi.restoreAllMocks();
  records = Object.fromEntries(STORES.map((name) => [name, new Map()]));
  opened = 0;
  isClosed = false;
  failure = null;
  const tab = new Map<string, string>();
  vi.stubGlobal("location", { href: "https://example.org/" });
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", new EventTarget());
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => tab.get(key) ?? null,
    setItem: (key: string, value: string) => void tab.set(key, value),
    removeItem: (key: string) => void tab.delete(key),
  });
  vi.stubGlobal("navigator", {
    locks: {
      request: async (_name: string, _options: object, hold: () => Promise<void>) => hold(),
      query: async () => ({}),
    },
  });
  vi.stubGlobal("indexedDB", { open: openDatabase });
  vi.stubGlobal("IDBKeyRange", {
    only: (only: Key) => (key: Key) => `${key}` === `${only}`,
    bound: ([session]: Key) => (key: Key) => key[0] === session,
  });
});

test("photos are kept for the next page of the tab", async () => {
  const session = await openSession();
  session.keep(makePhoto("a"));
  session.keep(makePhoto("b"));
  session.keep({ ...makePhoto("b"), number: 2 });
  session.forget(["a"]);
  await finish();
  const { photos, gone } = await openSession();
  expect([...photos.values()]).toEqual([{ ...makePhoto("b"), number: 2 }]);
  expect(gone).toBeNull();
});

test("a connection that the browser has closed is opened again", async () => {
  const session = await openSession();
  session.keep(makePhoto("a"));
  session.keep(makePhoto("b"));
  await finish();
  isClosed = true;
  session.keep(makePhoto("c"));
  session.forget(["a"]);
  expect([...session.photos.keys()]).toEqual(["b", "c"]);
  await finish();
  expect(idsIn("photos")).toEqual(["b", "c"]);
  expect(idsIn("files")).toEqual(["b", "c"]);
  expect(opened).toBe(2);
  isClosed = true;
  session.forget(null);
  expect(session.photos.size).toBe(0);
  await finish();
  expect([idsIn("photos"), idsIn("files")]).toEqual([[], []]);
  expect(opened).toBe(3);
});

test.each([true, false])("a database that fails is no longer used, if closed: %s", async (closed) => {
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  const session = await openSession();
  session.keep(makePhoto("a"));
  await finish();
  isClosed = closed;
  failure = new DOMException("the connection is lost", "UnknownError");
  session.keep(makePhoto("b"));
  await finish();
  failure = null;
  session.keep(makePhoto("c"));
  document.dispatchEvent(new Event("visibilitychange"));
  await finish();
  expect([...session.photos.keys()]).toEqual(["a", "b", "c"]);
  expect(idsIn("photos")).toEqual(["a"]);
  expect(log).toHaveBeenCalledOnce();
});

test("a tab whose user has forbidden storage has a session of its own", async () => {
  const forbid = () => {
    throw new DOMException("the operation is insecure", "SecurityError");
  };
  vi.stubGlobal("sessionStorage", { getItem: forbid, setItem: forbid, removeItem: forbid });
  vi.stubGlobal("indexedDB", { open: forbid });
  const session = await openSession();
  expect([session.gone, session.photos.size]).toEqual([null, 0]);
  session.keep(makePhoto("a"));
  session.setWorking("a");
  session.setWorking(null);
  window.dispatchEvent(new Event("pagehide"));
  expect([...session.photos.keys()]).toEqual(["a"]);
});

test("a database that cannot be read is not used", async () => {
  await openSession();
  failure = new DOMException("the connection is lost", "UnknownError");
  opened = 0;
  const session = await openSession();
  expect(session.gone).toBe("restarted");
  failure = null;
  session.keep(makePhoto("a"));
  document.dispatchEvent(new Event("visibilitychange"));
  await finish();
  expect([...session.photos.keys()]).toEqual(["a"]);
  expect(idsIn("photos")).toEqual([]);
});
