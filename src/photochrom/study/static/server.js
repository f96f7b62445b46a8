// Requests to the server, repeated until it responds.

const STORAGE_KEY = "photochrom-study-answer";
const RETRY_MS = 2000;
const TIMEOUT_MS = 20_000;
const connection = document.getElementById("connection");
let storedInMemory = null; // for browsers without localStorage

/**
 * Send a request until the server responds.
 * @param {string} path
 * @param {object} [body] JSON body of a POST; a GET without it.
 * @returns {Promise<{ok: boolean, content: Blob}>}
 */
async function send(path, body) {
  const options = { cache: "no-store" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  for (;;) {
    try {
      const response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
      const content = await response.blob();
      if (response.status < 500) {
        connection.textContent = "";
        return { ok: response.ok, content };
      }
      showProblem("The server has a problem.");
    } catch {
      showProblem("There is no connection.");
    }
    await waitForRetry();
  }
}

function showProblem(problem) {
  const stored = readResponse() === null ? "" : " Your response is stored in this browser.";
  const retry = "Retrying every 2 seconds; please keep this page open.";
  connection.textContent = `${problem}${stored} ${retry}`;
}

/** Wait for `RETRY_MS`, or until the browser is online again. */
function waitForRetry() {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, RETRY_MS);
    addEventListener("online", done);
  });
}

/** @returns {Promise<object>} The current trial, or another state of the participant. */
export async function fetchState() {
  return JSON.parse(await (await send("api/next")).content.text());
}

export async function sendConsent() {
  await send("api/person", {});
}

export async function sendColorVision(answer) {
  await send("api/color-vision", { answer });
}

/** Have all that is stored about the participant deleted. */
export async function withdraw() {
  storeResponse(null);
  await send("api/withdraw", {});
}

/** @returns {Promise<boolean>} Whether the images of the trial may be shown. */
export async function beginTrial(number) {
  return (await send("api/begun", { number })).ok;
}

/** @returns {Promise<HTMLImageElement>} A decoded image. */
export async function loadImage(id) {
  const { content } = await send(`pictures/${id}.png`);
  const image = new Image();
  image.src = URL.createObjectURL(content);
  await image.decode();
  return image;
}

/**
 * Send a response. It is stored until the server has it, so that a reload does not lose it.
 * @returns {Promise<?object>} The feedback; null if the server rejected the response.
 */
export function sendResponse(response) {
  storeResponse(JSON.stringify(response));
  return sendStoredResponse();
}

/** Send the response stored before a reload, if any. */
export async function sendStoredResponse() {
  const stored = readResponse();
  if (stored === null) return null;
  const { ok, content } = await send("api/answer", JSON.parse(stored));
  storeResponse(null);
  return ok ? JSON.parse(await content.text()) : null;
}

function readResponse() {
  try {
    return localStorage.getItem(STORAGE_KEY) ?? storedInMemory;
  } catch {
    return storedInMemory;
  }
}

function storeResponse(text) {
  storedInMemory = text;
  try {
    if (text === null) localStorage.removeItem(STORAGE_KEY);
    else localStorage.setItem(STORAGE_KEY, text);
  } catch {
    // storedInMemory is used instead
  }
}
