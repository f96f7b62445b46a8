// What is asked of the server and told to it. A connection that is cut only delays it.

const KEPT = "photochrom-study-answer";
const AGAIN_MS = 2000;
const PATIENCE_MS = 20_000;
const note = document.getElementById("note");
let inMemory = null; // where a browser has no localStorage

/**
 * Ask until the server answers, however often the connection fails.
 * @param {string} path
 * @param {object} [body] What is told, if anything.
 * @returns {Promise<{ok: boolean, content: Blob}>} Whether it was granted, and what came.
 */
async function ask(path, body) {
  const request = { cache: "no-store" };
  if (body !== undefined) {
    request.method = "POST";
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  for (;;) {
    try {
      const response = await fetch(path, { ...request, signal: AbortSignal.timeout(PATIENCE_MS) });
      const content = await response.blob();
      if (response.status < 500) {
        note.textContent = "";
        return { ok: response.ok, content };
      }
      say("The server has trouble.");
    } catch {
      say("There is no connection.");
    }
    await pause();
  }
}

function say(what) {
  const kept = read() === null ? "" : " Your answer is kept here.";
  note.textContent = `${what}${kept} Trying again every 2 seconds; please leave this page open.`;
}

/** Wait a little, or till the browser sees a network again. */
function pause() {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, AGAIN_MS);
    addEventListener("online", done);
  });
}

/** @returns {Promise<object>} What the person is to see now. */
export async function next() {
  return JSON.parse(await (await ask("/api/next")).content.text());
}

export async function agree() {
  await ask("/api/person", {});
}

/** @returns {Promise<boolean>} Whether the pictures of the trial may be shown. */
export async function begun(number) {
  return (await ask("/api/begun", { number })).ok;
}

/** @returns {Promise<HTMLImageElement>} A picture that can be shown at once. */
export async function picture(id) {
  const { content } = await ask(`/pictures/${id}.png`);
  const image = new Image();
  image.src = URL.createObjectURL(content);
  await image.decode();
  return image;
}

/**
 * Deliver an answer; till the server has it, a reload finds it here.
 * @returns {Promise<?object>} What the server says to it; null if it did not want it.
 */
export function deliver(answer) {
  write(JSON.stringify(answer));
  return deliverKept();
}

/** Deliver the answer that a reload came before, if there is one. */
export async function deliverKept() {
  const kept = read();
  if (kept === null) return null;
  const { ok, content } = await ask("/api/answer", JSON.parse(kept));
  write(null);
  return ok ? JSON.parse(await content.text()) : null;
}

function read() {
  try {
    return localStorage.getItem(KEPT) ?? inMemory;
  } catch {
    return inMemory;
  }
}

function write(text) {
  inMemory = text;
  try {
    if (text === null) localStorage.removeItem(KEPT);
    else localStorage.setItem(KEPT, text);
  } catch {
    // inMemory has it
  }
}
