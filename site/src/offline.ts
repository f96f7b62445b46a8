// Use without a connection: the service worker keeps the files of the site.

const { serviceWorker } = navigator; // not defined on http, other than on localhost

let keeping = Promise.resolve();

/** Keep files that the page has loaded, by address, for the service worker: it loads the others. */
export function keepForOffline(files: [string, ArrayBuffer][]): void {
  if (!serviceWorker || serviceWorker.controller) return;
  const responses = files.map(([url, content]) => [url, new Response(content)] as const); // copies
  keeping = store(responses);
}

async function store(responses: (readonly [string, Response])[]): Promise<void> {
  // Its service worker deletes caches whose names start like this, once it has its own.
  const cache = await caches.open(`photochrom ${new URL(".", location.href)} loaded`);
  for (const [url, response] of responses) await cache.put(url, response);
}

/**
 * Start the service worker, where the browser offers one: on https and on localhost.
 *
 * A new version that was loaded before is put in place of the old one now, unless the site is open
 * in another tab.
 */
export async function startOffline(): Promise<void> {
  if (!serviceWorker) return;
  try {
    await keeping;
    await serviceWorker.register("service_worker.js", { updateViaCache: "none" });
  } catch (error) {
    // No space, no connection, or a browser that forbids it.
    console.warn(`The site cannot be used offline: ${error}`);
    return;
  }
  await serviceWorker.ready;
  document.getElementById("offline-note")!.hidden = false;
}

/** Put a waiting version in place of the current one, and load the page again; see above. */
export async function useNewVersion(): Promise<void> {
  const registration = await serviceWorker?.getRegistration();
  if (!registration?.waiting || !serviceWorker.controller) return;
  serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
  registration.waiting.postMessage("activate");
}
