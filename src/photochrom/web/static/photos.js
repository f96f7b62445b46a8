// The photos on the page: their uploads, and their state on the server.

import { RequestError, request, sleep, upload } from "./api.js";
import { forgetPictures } from "./pictures.js";
import { t } from "./texts.js";

const MAX_UPLOADS = 2; // at the same time
const POLL_BUSY = 400; // ms between polls while the server is working
const POLL_IDLE = 60_000; // ms otherwise; this keeps the session alive

/** In order of arrival; see `createPhoto`. */
export const photos = [];

const removedIds = new Set(); // a response that is on its way may still list them
let changes = Promise.resolve(); // sent one after the other, so that the last one wins
let uploads = 0;
let pollNow = () => {};
let callbacks;

/** Call back: onChange(), onAdd(photos), announce(message) to screen readers, warn(message). */
export function startPhotos(newCallbacks) {
  callbacks = newCallbacks;
  poll();
}

function createPhoto(name, file, model) {
  return {
    name,
    file, // until it is uploaded; null for a photo from the server
    fileUrl: file && URL.createObjectURL(file), // until its thumbnail in colour is shown
    model, // for the upload
    phase: file ? "queued" : "sent", // or uploading, full, failed
    percent: 0,
    error: null,
    id: null, // from the server
    state: null, // from the server
    options: null, // of the controls
    acceptedAt: 0, // by the server, in ms
    abort: new AbortController(),
    afterUrl: null, // of the latest preview in colour
    revealed: false, // whether the animation was shown
    sliderMoving: false,
    downloading: false,
  };
}

/** Return queued, uploading, full, waiting, working, ready or failed. */
export function statusOf(photo) {
  return photo.phase === "sent" ? photo.state.status : photo.phase;
}

/** Return the message of a failed photo. */
export function errorOf(photo) {
  return photo.error ?? photo.state?.error;
}

/** Add files and upload those within the size limit. */
export function addFiles(files, model, maxBytes) {
  const added = files.map((file) => createPhoto(file.name, file, model));
  for (const photo of added) {
    // The server checks this too, but may reset the connection before the browser reads its error.
    if (photo.file.size > maxBytes) setFailed(photo, tooLarge(photo.file, maxBytes));
  }
  photos.push(...added);
  callbacks.onAdd(added);
  callbacks.onChange();
  for (let free = MAX_UPLOADS - uploads; free > 0; free--) startNextUpload();
}

function tooLarge({ name, size }, maxBytes) {
  return t("file.too_large", { name, size: Math.round(size / 1e5) / 10, limit: maxBytes / 1e6 });
}

function setFailed(photo, message) {
  Object.assign(photo, { phase: "failed", error: message, file: null });
  callbacks.announce(t("photo.failed", { name: photo.name, error: message }));
}

async function startNextUpload() {
  const photo = photos.find(({ phase }) => phase === "queued");
  if (!photo) return;
  uploads++;
  photo.phase = "uploading";
  await uploadPhoto(photo);
  uploads--;
  callbacks.onChange();
  startNextUpload();
}

async function uploadPhoto(photo) {
  const query = new URLSearchParams({ name: photo.name, model: photo.model });
  const onProgress = (percent) => {
    Object.assign(photo, percent === null ? { phase: "full" } : { phase: "uploading", percent });
    callbacks.onChange();
  };
  try {
    const state = await upload(`/photos?${query}`, photo.file, onProgress, photo.abort.signal);
    if (photo.abort.signal.aborted) {
      if (state) deleteOnServer(state.id); // removed after the file was sent
      return;
    }
    Object.assign(photo, { phase: "sent", file: null, acceptedAt: performance.now() });
    update(photo, state);
    pollNow();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    setFailed(photo, error.message);
  }
}

/** Store the server's state of a photo. */
function update(photo, state) {
  const oldStatus = photo.state?.status;
  photo.id = state.id;
  photo.state = state;
  photo.options ??= { ...state.look };
  if (oldStatus === state.status) return;
  if (state.status === "ready") callbacks.announce(t("photo.ready", { name: photo.name }));
  if (state.status === "failed") callbacks.announce(t("photo.failed", { name: photo.name, error: state.error }));
}

async function poll() {
  for (;;) {
    const requestedAt = performance.now();
    try {
      updateAll((await request("/photos")).photos, requestedAt);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      callbacks.warn(error.message);
    }
    callbacks.onChange();
    const busy = photos.some((photo) => ["waiting", "working"].includes(statusOf(photo)));
    const interval = sleep(busy ? POLL_BUSY : POLL_IDLE);
    await Promise.race([interval, new Promise((resolve) => (pollNow = resolve))]);
  }
}

/** Store the server's list of photos, which was requested at `requestedAt`, in ms. */
function updateAll(states, requestedAt) {
  const known = new Map(photos.filter(({ id }) => id).map((photo) => [photo.id, photo]));
  const ids = new Set(states.map(({ id }) => id));
  const missing = [...known.values()].filter(
    ({ id, acceptedAt }) => acceptedAt < requestedAt && !ids.has(id),
  );
  for (const photo of missing) removeFromPage(photo);
  if (missing.length && !states.length) callbacks.warn(t("photos.unused"));
  for (const state of states) {
    const photo = known.get(state.id);
    if (photo) update(photo, state);
    // An unknown photo may be one that is being uploaded.
    else if (!removedIds.has(state.id) && !uploads) addFromServer(state);
  }
}

function addFromServer(state) {
  const photo = createPhoto(state.name, null, state.look.model);
  photo.state = state; // its status is not announced
  update(photo, state);
  photos.push(photo);
  callbacks.onAdd([]);
}

/** Change options of photos, here and on the server. */
export function changeOptions(changed, options) {
  for (const photo of changed) {
    if (!photo.id || statusOf(photo) === "failed") continue;
    Object.assign(photo.options, options);
    enqueueChange(async () => {
      if (removedIds.has(photo.id)) return;
      try {
        update(photo, await request(`/photos/${photo.id}`, { method: "PATCH", json: options }));
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        photo.options = { ...photo.state.look };
        if (error.status !== 404) callbacks.warn(error.message);
      }
      pollNow();
    });
  }
  callbacks.onChange();
}

export function removePhoto(photo) {
  removeFromPage(photo);
  if (photo.id) deleteOnServer(photo.id);
  callbacks.onChange();
}

export function removeAll() {
  for (const photo of [...photos]) removeFromPage(photo);
  enqueueChange(() => request("/photos", { method: "DELETE" }));
  callbacks.onChange();
}

/** Fetch the state of the server now. */
export const refresh = () => pollNow();

/** Resolve once the server has all changes made so far. */
export const changesSaved = () => changes;

function deleteOnServer(id) {
  removedIds.add(id);
  enqueueChange(async () => {
    try {
      await request(`/photos/${id}`, { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof RequestError)) throw error; // else it is deleted already
    }
  });
}

function removeFromPage(photo) {
  if (photo.id) removedIds.add(photo.id);
  photo.abort.abort();
  revokeFileUrl(photo);
  forgetPictures(photo);
  photos.splice(photos.indexOf(photo), 1);
}

export function revokeFileUrl(photo) {
  if (photo.fileUrl) URL.revokeObjectURL(photo.fileUrl);
  photo.fileUrl = null;
}

function enqueueChange(send) {
  changes = changes.catch(() => {}).then(send);
}
