import { beforeEach, expect, test, vi } from "vitest";

const SCOPE = "https://example.org/album/";
const PREFIX = `photochrom ${SCOPE} `;
const urlOf = (hash: string) => `${SCOPE}static/page.js?v=${hash}`;

type Listener = (event: object) => void;

let stored: Map<string, Map<string, string>>; // caches, in the order of their creation
let listeners: Map<string, Listener>;

const match = async (name: string, url: string) => stored.get(name)?.get(url);

/** Dispatch an event, and return what it is answered with. */
function dispatch(type: string, event: object = {}): Promise<unknown> {
  return new Promise((resolve) => {
    listeners.get(type)!({ ...event, waitUntil: resolve, respondWith: resolve });
  });
}

const request = (url: string) => dispatch("fetch", { request: { method: "GET", url } });

beforeEach(async () => {
  const versions = ["older", "old", "new"];
  const files = versions.map((v) => [PREFIX + v, new Map([[urlOf(v), v]])] as const);
  stored = new Map([...files, [`${PREFIX}loaded`, new Map()], ["photochrom of others", new Map()]]);
  listeners = new Map();
  vi.stubGlobal("FILES", { "static/page.js": "new" });
  vi.stubGlobal("VERSION", "new");
  vi.stubGlobal("self", {
    registration: { scope: SCOPE },
    clients: { claim() {} },
    addEventListener: (type: string, listener: Listener) => listeners.set(type, listener),
  });
  vi.stubGlobal("caches", {
    keys: async () => [...stored.keys()],
    delete: async (name: string) => stored.delete(name),
    open: async (name: string) => ({ match: (url: string) => match(name, url) }),
    match: async (url: string) => {
      for (const name of stored.keys()) if (await match(name, url)) return match(name, url);
    },
  });
  vi.stubGlobal("fetch", async () => "from the network");
  vi.resetModules();
  await import("../src/service_worker.ts");
  await dispatch("activate");
});

test("the version before is kept, and no older one", () => {
  expect([...stored.keys()]).toEqual([`${PREFIX}old`, `${PREFIX}new`, "photochrom of others"]);
});

test("a page gets the files of its own version", async () => {
  expect(await request(urlOf("new"))).toBe("new");
  expect(await request(urlOf("old"))).toBe("old");
  expect(await request(urlOf("older"))).toBe("from the network");
  expect(await request(`${SCOPE}static/page.js`)).toBe("new");
});
