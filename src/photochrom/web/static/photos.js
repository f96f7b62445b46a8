// The photos that the page has: on their way to the server, and what becomes of them there.

import { Refused, ask, pause, upload } from "./server.js";

const UPLOADS = 2; // at once
const BUSY = 400; // ms between two looks at the server while it works
const IDLE = 60_000; // and else, so that it does not forget the photos
const FORGOTTEN =
  "The photos were forgotten, as the page was not used for a while. Please add them again.";

/** In order of arrival; see `entry`. */
export const photos = [];

const gone = new Set(); // ids that an answer on its way may still list
let changes = Promise.resolve(); // one after the other, so that the last one is the one that holds
let uploads = 0;
let wake = () => {};
let on = { change() {}, say() {}, warn() {}, fresh() {} };

/** Call back: change() for any change, say(sentence), warn(sentence), fresh(photos). */
export function start(callbacks) {
  on = callbacks;
  watch();
}

function entry(name, file, model) {
  return {
    name,
    file, // until it is sent; null for one that the server had
    url: file && URL.createObjectURL(file), // the file itself, as long as it is needed
    model, // of the upload
    phase: file ? "queued" : "sent", // or sending, full, failed
    percent: 0,
    error: null,
    id: null, // the server's, from here on
    state: null,
    look: null, // what the controls say: the server's, until they are moved
    since: 0, // when the server took it, in ms
    stop: new AbortController(),
    after: null, // the address of its picture in colour, the newest that there is
    revealed: false, // whether the colour was drawn over it before somebody's eyes
    moving: false, // whether a slider of its look is held
    saving: false,
  };
}

/** How it goes with a photo: queued, sending, full, waiting, working, ready or failed. */
export function status(photo) {
  return photo.phase === "sent" ? photo.state.status : photo.phase;
}

/** The sentence that says why a photo failed. */
export function failure(photo) {
  return photo.error ?? photo.state?.error;
}

export function add(files, model, limit) {
  const added = files.map((file) => entry(file.name, file, model));
  for (const [index, photo] of added.entries()) {
    // The server says the same, but it can hang up before the browser listens.
    if (files[index].size > limit) fail(photo, tooLarge(files[index], limit));
  }
  photos.push(...added);
  on.fresh(added);
  on.change();
  for (let free = UPLOADS - uploads; free > 0; free--) send();
}

function tooLarge(file, limit) {
  const size = (file.size / 1e6).toFixed(1);
  return `${file.name} has ${size} MB, and a photo may have ${limit / 1e6} MB; make it smaller.`;
}

function fail(photo, sentence) {
  Object.assign(photo, { phase: "failed", error: sentence, file: null });
  on.say(`${photo.name} failed: ${sentence}`);
}

async function send() {
  const photo = photos.find((each) => each.phase === "queued");
  if (!photo) return;
  uploads++;
  photo.phase = "sending";
  await sendOne(photo);
  uploads--;
  on.change();
  send();
}

async function sendOne(photo) {
  const query = new URLSearchParams({ name: photo.name, model: photo.model });
  const progress = (percent) => {
    Object.assign(photo, percent === null ? { phase: "full" } : { phase: "sending", percent });
    on.change();
  };
  try {
    const state = await upload(`/photos?${query}`, photo.file, progress, photo.stop.signal);
    if (photo.stop.signal.aborted) {
      if (state) drop(state.id); // removed in the last moment
      return;
    }
    Object.assign(photo, { phase: "sent", file: null, since: performance.now() });
    take(photo, state);
    wake();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    fail(photo, error.message);
  }
}

function take(photo, state) {
  const before = photo.state && photo.state.status;
  photo.id = state.id;
  photo.state = state;
  photo.look ??= { ...state.look, model: state.model };
  if (before === state.status) return;
  if (state.status === "ready") on.say(`${photo.name} is ready.`);
  if (state.status === "failed") on.say(`${photo.name} failed: ${state.error}`);
}

async function watch() {
  for (;;) {
    const asked = performance.now();
    try {
      const { photos: states } = await ask("/photos");
      merge(states, asked);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      on.warn(error.message);
    }
    on.change();
    const works = photos.some((each) => ["waiting", "working"].includes(status(each)));
    await Promise.race([pause(works ? BUSY : IDLE), new Promise((resolve) => (wake = resolve))]);
  }
}

/** Take in what the server has; `asked` is when it was asked, in ms. */
function merge(states, asked) {
  const known = new Map(photos.filter((each) => each.id).map((each) => [each.id, each]));
  const found = new Set(states.map((state) => state.id));
  const lost = [...known.values()].filter((each) => each.since < asked && !found.has(each.id));
  for (const photo of lost) discard(photo);
  if (lost.length && !states.length) {
    on.warn(FORGOTTEN);
  }
  for (const state of states) {
    const photo = known.get(state.id);
    if (photo) take(photo, state);
    // While one is being sent, an unknown one can be that one.
    else if (!gone.has(state.id) && !uploads) adopt(state);
  }
}

function adopt(state) {
  const photo = entry(state.name, null, state.model);
  photo.state = state; // what it is already is no news
  take(photo, state);
  photos.push(photo);
  on.fresh([]);
}

/** Change the look of photos, here and on the server. */
export function change(some, look) {
  for (const photo of some) {
    if (!photo.id || status(photo) === "failed") continue;
    Object.assign(photo.look, look);
    later(async () => {
      if (gone.has(photo.id)) return;
      try {
        take(photo, await ask(`/photos/${photo.id}`, { method: "PATCH", json: look }));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        photo.look = { ...photo.state.look, model: photo.state.model };
        if (error.status !== 404) on.warn(error.message);
      }
      wake();
    });
  }
  on.change();
}

export function remove(photo) {
  discard(photo);
  if (photo.id) drop(photo.id);
  on.change();
}

export function forget() {
  for (const photo of [...photos]) discard(photo);
  later(() => ask("/photos", { method: "DELETE" }));
  on.change();
}

/** Ask the server how it goes, now. */
export const lookAgain = () => wake();

/** Resolve once the server knows all that was changed so far. */
export const settled = () => changes;

function drop(id) {
  gone.add(id);
  later(async () => {
    try {
      await ask(`/photos/${id}`, { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // it is gone, which is what was asked
    }
  });
}

function discard(photo) {
  if (photo.id) gone.add(photo.id);
  photo.stop.abort();
  release(photo);
  photos.splice(photos.indexOf(photo), 1);
}

/** Let go of the file itself. */
export function release(photo) {
  if (photo.url) URL.revokeObjectURL(photo.url);
  photo.url = null;
}

function later(work) {
  changes = changes.catch(() => {}).then(work);
}
