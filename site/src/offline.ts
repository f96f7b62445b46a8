// Use without a connection: the service worker keeps the files of the site.

const { serviceWorker } = navigator; // not defined on http, other than on localhost

let isStarted = false;

/**
 * Start the service worker, where the browser offers one: on https and on localhost.
 *
 * @param files What the page has loaded, by address; the service worker loads the others. They may
 *   be changed afterwards.
 */
export async function startOffline(files: [string, ArrayBuffer][]): Promise<void> {
  if (!serviceWorker || isStarted) return;
  isStarted = true;
  try {
    if (!serviceWorker.controller) await keep(files);
    await serviceWorker.register("service_worker.js", { updateViaCache: "none" });
  } catch (error) {
    // No space, no connection, or a browser that forbids it.
    console.warn(`The site cannot be used offline: ${error}`);
    return;
  }
  await serviceWorker.ready;
  document.getElementById("offline-note")!.hidden = false;
}

/** Store files where the service worker finds them; it deletes that cache once it has its own. */
async function keep(files: [string, ArrayBuffer][]): Promise<void> {
  const responses = files.map(([url, content]) => [url, new Response(content)] as const); // copies
  const cache = await caches.open(`photochrom ${new URL(".", location.href)} loaded`);
  for (const [url, response] of responses) await cache.put(url, response);
}
