// What is asked of the server. A lost connection is waited out, and so is a server that is full.

const PAUSE = 1000; // ms until a lost connection is tried again

let tell = () => {};

/** Call back with true or false whenever an attempt shows whether the server can be reached. */
export function onConnection(callback) {
  tell = callback;
}

/** What the server refuses, with its sentence. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Return the JSON, or the Blob, that the server answers; nothing of an empty answer. */
export async function ask(path, { method = "GET", json, as = "json" } = {}) {
  for (;;) {
    try {
      const answer = await fetch(path, {
        method,
        headers: json && { "Content-Type": "application/json" },
        body: json && JSON.stringify(json),
      });
      const content = answer.ok && as === "blob" ? await answer.blob() : await answer.text();
      tell(true);
      if (answer.ok) return as === "blob" || !content ? content : JSON.parse(content);
      if (answer.status !== 503) throw new Refused(answer.status, sentence(content));
      await pause(seconds(answer.headers.get("Retry-After")));
    } catch (error) {
      // No answer, or one of something between the page and the server.
      if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
      tell(false);
      await pause(PAUSE);
    }
  }
}

/**
 * Send a file, and return the JSON that the server answers, or null if it was stopped on its way.
 *
 * @param {(percent: number | null) => void} onProgress null: the server is full, it waits.
 * @param {AbortSignal} signal Stops it, unless the server has all of it already.
 */
export async function upload(path, file, onProgress, signal) {
  while (!signal.aborted) {
    onProgress(0);
    const request = await attempt(path, file, onProgress, signal);
    if (request.status === 0 && !signal.aborted) {
      await file.slice(0, 1).arrayBuffer().catch(() => {
        throw new Refused(0, `${file.name} cannot be read any more; choose it again.`);
      });
      tell(false);
      await pause(PAUSE);
    } else if (request.status !== 0) {
      tell(true);
      if (request.status === 201) return JSON.parse(request.responseText);
      if (request.status !== 503) throw new Refused(request.status, sentence(request.responseText));
      onProgress(null);
      await pause(seconds(request.getResponseHeader("Retry-After")));
    }
  }
  return null;
}

function attempt(path, file, onProgress, signal) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    let sent = false;
    const stop = () => sent || request.abort();
    signal.addEventListener("abort", stop);
    request.upload.onprogress = ({ loaded, total }) => {
      onProgress(Math.floor((100 * loaded) / total));
    };
    request.upload.onload = () => (sent = true);
    request.onloadend = () => {
      signal.removeEventListener("abort", stop);
      resolve(request);
    };
    request.open("POST", path);
    request.send(file);
  });
}

function sentence(content) {
  try {
    const { detail } = JSON.parse(content);
    if (typeof detail === "string") return detail;
  } catch {
    // Not from photochrom: something between the page and it.
  }
  return "The server could not do this; try again.";
}

const seconds = (text) => 1000 * Math.max(1, Number(text) || 1);

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
