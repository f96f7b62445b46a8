// Contact with the server, in this module alone: the static site, whose engine runs in the browser,
// replaces it when it bundles the page.

/**
 * Return the response to a request.
 *
 * @param {boolean} keepalive Whether the request outlives the page.
 * @param {AbortSignal} signal Aborts with a DOMException.
 * @throws {TypeError} If the server is unreachable.
 */
export function send(path, { method = "GET", json, signal, keepalive = false } = {}) {
  return fetch(path, {
    method,
    signal,
    keepalive,
    headers: json && { "Content-Type": "application/json" },
    body: json && JSON.stringify(json),
  });
}

/**
 * Send a file by POST, and return `status`, `responseText` and `retryAfter` of the response.
 *
 * The status is 0 if the server is unreachable, the file cannot be read, or it was aborted.
 *
 * @param {(percent: number) => void} onProgress
 * @param {AbortSignal} signal Has no effect once the file is sent.
 */
export function sendFile(path, file, onProgress, signal) {
  return new Promise((resolve) => {
    const xhr = new XMLHttpRequest(); // as fetch does not report the progress of uploads
    let sent = false;
    const abort = () => sent || xhr.abort();
    signal.addEventListener("abort", abort);
    xhr.upload.onprogress = ({ loaded, total }) => onProgress(Math.floor((100 * loaded) / total));
    xhr.upload.onload = () => (sent = true);
    xhr.onloadend = () => {
      signal.removeEventListener("abort", abort);
      const { status, responseText } = xhr;
      resolve({ status, responseText, retryAfter: xhr.getResponseHeader("Retry-After") });
    };
    xhr.open("POST", path);
    xhr.send(file);
  });
}

/** Let the browser save the response to a GET request as a file, while it arrives. */
export function saveResponse(path, name) {
  Object.assign(document.createElement("a"), { href: path, download: name }).click();
}
