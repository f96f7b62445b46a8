// The service worker: it keeps all files of one version of the site, and answers with them.

export {};

declare const self: ServiceWorkerGlobalScope;
/** Path of each file, relative to the site, and SHA-256 of its content; `photochrom site` adds it. */
declare const FILES: Record<string, string>;
declare const VERSION: string;

const INDEX = "index.html";
const { scope } = self.registration;
const PREFIX = `photochrom ${scope} `; // other sites of the same host have caches as well
const NAME = PREFIX + VERSION;
const LOADED = `${PREFIX}loaded`; // what the first page has loaded

/** Return the address of a file, as the page has it too: another content has another address. */
const urlOf = (path: string) => new URL(`${path}?v=${FILES[path]}`, scope).href;

/**
 * Store all files of this version; those of the version before are taken where they are the same.
 *
 * It then takes the place of that version, whose files are kept for pages that are still open.
 */
async function install(): Promise<void> {
  const cache = await caches.open(NAME);
  for (const path of Object.keys(FILES)) {
    const known = await caches.match(urlOf(path));
    await cache.put(urlOf(path), known ?? (await load(path)));
  }
  void self.skipWaiting();
}

/** Load a file of this version; while a host is being updated it may have that of another. */
async function load(path: string): Promise<Response> {
  const response = await fetch(urlOf(path), { cache: "no-cache" });
  const content = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const hash = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hash !== FILES[path]) throw new Error(`${path} is not that of version ${VERSION}`);
  // Not the response itself: a browser shows none that was redirected.
  return new Response(content, { headers: response.headers });
}

/** Delete all caches but that of the version before. */
async function activate(): Promise<void> {
  const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== NAME);
  const before = names.findLast((name) => name !== LOADED);
  const old = names.filter((name) => name !== before);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.clients.claim();
}

/**
 * Return a file of this version, or undefined if it is none.
 *
 * An open page of the version before gets its own, by `v` in its address.
 */
async function find(url: string): Promise<Response | undefined> {
  const { origin, pathname, searchParams } = new URL(url);
  const path = (origin + pathname).slice(scope.length) || INDEX;
  const hash = searchParams.get("v");
  if (hash !== null && hash !== FILES[path]) return caches.match(url);
  return path in FILES ? (await caches.open(NAME)).match(urlOf(path)) : undefined;
}

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method !== "GET" || !url.startsWith(scope)) return;
  event.respondWith(find(url).then((response) => response ?? fetch(event.request)));
});
