// Decoded pictures in the page's memory, as the browser's cache must not keep any.

import { loadImage } from "./api.js";

const MAX_PIXELS = 50_000_000; // about 25 previews

const kept = new Map(); // from URL to <img>, least recently used first

/**
 * Return a decoded <img>, or null if the browser cannot show the file.
 *
 * The same URL gives the same element. `signal` aborts the request.
 */
export async function picture(url, { signal } = {}) {
  if (url.startsWith("blob:")) return loadImage(url); // the user's file, which may be large
  const image = kept.get(url) ?? (await loadImage(url, { signal, revoke: false }));
  if (!image) return null;
  kept.delete(url);
  kept.set(url, image);
  let pixels = 0;
  for (const [other, { naturalWidth, naturalHeight, isConnected }] of [...kept].reverse()) {
    pixels += naturalWidth * naturalHeight;
    if (pixels > MAX_PIXELS && other !== url && !isConnected) forget(other);
  }
  return image;
}

/** Tell whether `picture` has one already. */
export const isKept = (url) => kept.has(url);

/** Drop the pictures of a removed photo. */
export function forgetPictures(photo) {
  for (const url of [...kept.keys()]) if (url.includes(`photos/${photo.id}/`)) forget(url);
}

function forget(url) {
  // Not before, as a browser saves a picture to a file from its URL.
  URL.revokeObjectURL(kept.get(url).src);
  kept.delete(url);
}
