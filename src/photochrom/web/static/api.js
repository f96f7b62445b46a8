// Requests to the server. They are repeated while the server is unreachable or full.

import { t } from "./texts.js";
import { send, sendFile } from "./transport.js";

const RETRY_DELAY = 1000; // ms

let reportConnection = () => {};

/** Call back with true or false when a request shows whether the server is reachable. */
export function onConnectionChange(callback) {
  reportConnection = callback;
}

/** An error response of the server, with its message. */
export class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Return the content of the response.
 *
 * @param {"json" | "blob" | "file"} as A file has the name that the server gives.
 * @param {AbortSignal} signal Aborts with a DOMException.
 */
export async function request(path, { method = "GET", json, as = "json", signal } = {}) {
  for (;;) {
    signal?.throwIfAborted();
    try {
      const response = await send(path, { method, json, signal });
      if (response.ok && as !== "json") {
        const content = await response.blob();
        reportConnection(true);
        return as === "file" ? toFile(content, response.headers) : content;
      }
      const content = await response.text();
      reportConnection(true);
      if (response.ok) return content && JSON.parse(content);
      if (response.status !== 503) throw new RequestError(response.status, errorMessage(content));
      await sleep(retryDelay(response.headers.get("Retry-After")));
    } catch (error) {
      // No response, or one of a proxy.
      if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
      reportConnection(false);
      await sleep(RETRY_DELAY);
    }
  }
}

/**
 * Upload a file, and return the JSON of the response, or null if it was aborted.
 *
 * @param {(percent: number | null) => void} onProgress null: the server is full.
 * @param {AbortSignal} signal Has no effect once the file is sent.
 */
export async function upload(path, file, onProgress, signal) {
  while (!signal.aborted) {
    onProgress(0);
    const { status, responseText, retryAfter } = await sendFile(path, file, onProgress, signal);
    if (status === 0 && !signal.aborted) {
      await file.slice(0, 1).arrayBuffer().catch(() => {
        throw new RequestError(0, t("file.unreadable", { name: file.name }));
      });
      reportConnection(false);
      await sleep(RETRY_DELAY);
    } else if (status !== 0) {
      reportConnection(true);
      if (status === 201) return JSON.parse(responseText);
      if (status !== 503) throw new RequestError(status, errorMessage(responseText));
      onProgress(null);
      await sleep(retryDelay(retryAfter));
    }
  }
  return null;
}

function toFile(content, headers) {
  const disposition = headers.get("Content-Disposition");
  const [, encoded, quoted] =
    /filename\*=utf-8''([^;]+)|filename="([^"]*)"/i.exec(disposition) ?? [];
  const name = encoded ? decodeURIComponent(encoded) : quoted;
  return new File([content], name, { type: content.type });
}

function errorMessage(content) {
  try {
    const { detail } = JSON.parse(content);
    if (typeof detail === "string") return detail;
  } catch {
    // A response of a proxy.
  }
  return t("connection.error");
}

const retryDelay = (seconds) => 1000 * Math.max(1, Number(seconds) || 1);

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Return a decoded <img>, or null if the browser cannot show the file.
 *
 * @param {AbortSignal} signal Aborts the request with a DOMException.
 * @param {boolean} revoke Whether to free the image's URL, from which a browser saves it to a file.
 */
export async function loadImage(url, { signal, revoke = true } = {}) {
  const image = new Image();
  image.draggable = false;
  const isLocal = url.startsWith("blob:"); // the file of the user; photos.js revokes its URL
  image.src = isLocal ? url : URL.createObjectURL(await request(url, { as: "blob", signal }));
  try {
    await image.decode();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    if (!isLocal) URL.revokeObjectURL(image.src);
    return null;
  }
  if (!isLocal && revoke) URL.revokeObjectURL(image.src);
  return image;
}
