// The photos on the page: their uploads, their looks, and their state on the server.

import { RequestError, request, sleep, upload } from "./api.js";
import {
  DEFAULT_LOOK,
  adoptLook,
  changeLook,
  createHistory,
  forgetHistories,
  onLookChange,
  readItem,
  rejectLook,
  resetHistory,
  restoreHistory,
  sameLook,
  settledLook,
  store,
  storeItem,
} from "./looks.js";
import { forgetPictures } from "./pictures.js";
import { formatMegabytes, t } from "./texts.js";
import { send } from "./transport.js";

const MAX_UPLOADS = 2; // at the same time
const POLL_BUSY = 400; // ms between polls while the server is working
const POLL_IDLE = 60_000; // ms otherwise; this keeps the session alive
const CHOSEN = "photochrom.photo"; // keys of sessionStorage, which survives a reload
const REMOVED = "photochrom.removed";

/** In order of arrival; see `createPhoto`. */
export const photos = [];

const removed = []; // {photo, index}, the removals that can be undone
const removedIds = new Set(); // a response that is on its way may still list them
const undeletedIds = new Set(); // of these, those that the server may still have
// Tells the page's other tabs of changes; other servers on this host have other paths or ports.
const otherTabs = new BroadcastChannel(`photochrom ${new URL(".", location.href).pathname}`);
let changes = Promise.resolve(); // sent one after the other, so that the last one wins
let removal = changes; // of all photos; uploads wait, or it would remove them as well
let uploads = 0;
let pollAgain = false;
let wakePoll = () => {};
let callbacks;

/** Call back: onChange(), onAdd(photos), announce(message) to screen readers, warn(message). */
export function startPhotos(newCallbacks) {
  callbacks = newCallbacks;
  onLookChange((photo) => {
    if (!photo.changing && !isSaved(photo)) saveLook(photo);
    callbacks.onChange();
  });
  otherTabs.onmessage = refresh;
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  window.addEventListener("pagehide", () => finishRemoval({ keepalive: true }));
  for (const id of readItem(REMOVED) ?? []) deleteOnServer(id); // the page was closed meanwhile
  poll();
}

function createPhoto(name, file, model) {
  const look = { ...DEFAULT_LOOK, model };
  return {
    name,
    file, // until it is uploaded; null for a photo from the server
    fileUrl: file && URL.createObjectURL(file), // until its thumbnail in colour is shown
    phase: file ? "queued" : "sent", // or uploading, full, failed
    percent: 0,
    error: null,
    id: null, // from the server
    state: null, // from the server
    look, // as it is shown now
    goodLook: null, // the latest one whose picture was painted, unless it was refused
    sentLook: null, // the latest one that was sent to be saved
    history: createHistory(look),
    changing: false, // whether a slider or a handle moves
    saving: false, // whether a request waits that will save the look
    savedAt: 0, // when the look was saved, in ms; Infinity while it is not
    acceptedAt: 0, // by the server, in ms
    abort: new AbortController(),
    revealed: false, // whether the animation was shown
    downloading: false,
  };
}

/** Return queued, uploading, full, waiting, working, ready or failed. */
export function statusOf(photo) {
  return photo.phase === "sent" ? photo.state.status : photo.phase;
}

/** Return the message of a failed photo; the server's is English, so the page says what it means. */
export function errorOf({ error, state }) {
  if (error || !state?.error) return error;
  const code = ["truncated", "too_large"].find((known) => known === state.error_code) ?? "general";
  return t(`error.${code}`, { error: state.error });
}

/** Return whether the look of a photo can be changed. */
export const isEditable = (photo) => Boolean(photo.id) && statusOf(photo) !== "failed";

/** Return the photo that was chosen before a reload, if it is still there. */
export const chosenBefore = () => photos.find(({ id }) => id && id === readItem(CHOSEN));

/** Remember the chosen photo for a reload. */
export function storeChosen({ id }) {
  if (id) storeItem(CHOSEN, id);
}

/** Add files, upload those within the size limit, and return their photos. */
export function addFiles(files, model, maxBytes) {
  const added = files.map((file) => createPhoto(file.name, file, model));
  for (const photo of added) {
    // The server checks this too, but may reset the connection before the browser reads its error.
    if (photo.file.size > maxBytes) setFailed(photo, tooLarge(photo.file, maxBytes));
  }
  photos.push(...added);
  callbacks.onAdd(added);
  callbacks.onChange();
  startUploads();
  return added;
}

function tooLarge({ name, size }, maxBytes) {
  const values = { name, size: formatMegabytes(size), limit: formatMegabytes(maxBytes) };
  return t("file.too_large", values);
}

function setFailed(photo, message) {
  Object.assign(photo, { phase: "failed", error: message, file: null });
  callbacks.announce(t("photo.failed", { name: photo.name, error: message }));
}

function startUploads() {
  for (let free = MAX_UPLOADS - uploads; free > 0; free--) startNextUpload();
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
  const query = new URLSearchParams({ name: photo.name, model: photo.look.model });
  const onProgress = (percent) => {
    Object.assign(photo, percent === null ? { phase: "full" } : { phase: "uploading", percent });
    callbacks.onChange();
  };
  await removal.catch(() => {});
  try {
    const state = await upload(`photos?${query}`, photo.file, onProgress, photo.abort.signal);
    if (photo.abort.signal.aborted) {
      if (state) deleteOnServer(state.id); // removed after the file was sent
      return;
    }
    Object.assign(photo, { phase: "sent", file: null, acceptedAt: performance.now() });
    update(photo, state);
    storeRemoved();
    notifyTabs();
    refresh();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    setFailed(photo, error.message);
  }
}

/** Store the server's state of a photo, which was requested at `requestedAt`, in ms. */
function update(photo, state, requestedAt = 0) {
  const { state: old } = photo;
  photo.state = state;
  if (!photo.id) {
    photo.id = state.id;
    if (restoreHistory(photo)) saveLook(photo);
  } else if (!photo.changing && requestedAt > photo.savedAt) {
    // Another tab may have changed it.
    if (!sameLook(state.look, photo.look)) adoptLook(photo, state.look);
  }
  if (old?.status === state.status) return;
  const { name } = photo;
  if (state.status === "ready") callbacks.announce(t("photo.ready", { name }));
  if (state.status === "failed") {
    callbacks.announce(t("photo.failed", { name, error: state.error }));
  }
}

async function poll() {
  for (let first = true; ; first = false) {
    pollAgain = false;
    const requestedAt = performance.now();
    try {
      const list = await request("photos");
      if (first) forgetHistories(new Set(list.photos.map(({ id }) => id)));
      if (first && list.gone && readItem(CHOSEN)) {
        callbacks.warn(t(`gone.${list.gone}`));
        sessionStorage.removeItem(CHOSEN);
      }
      updateAll(list, requestedAt);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      callbacks.warn(error.message);
    }
    callbacks.onChange();
    if (pollAgain) continue;
    const busy = photos.some((photo) => ["waiting", "working"].includes(statusOf(photo)));
    const interval = sleep(busy ? POLL_BUSY : POLL_IDLE);
    await Promise.race([interval, new Promise((resolve) => (wakePoll = resolve))]);
  }
}

/** Fetch the state of the server now. */
export function refresh() {
  pollAgain = true;
  wakePoll();
}

function updateAll({ photos: states, gone }, requestedAt) {
  const all = [...photos, ...removed.map(({ photo }) => photo)];
  const known = new Map(all.filter(({ id }) => id).map((photo) => [photo.id, photo]));
  const ids = new Set(states.map(({ id }) => id));
  const missing = photos.filter(
    ({ id, acceptedAt }) => id && acceptedAt < requestedAt && !ids.has(id),
  );
  for (const photo of missing) {
    photos.splice(photos.indexOf(photo), 1);
    forget(photo);
  }
  if (missing.length) warnOfMissing(missing, gone);
  for (const state of states) {
    const photo = known.get(state.id);
    if (photo) update(photo, state, requestedAt);
    // An unknown photo may be one that is being uploaded.
    else if (!removedIds.has(state.id) && !uploads) addFromServer(state);
  }
}

function warnOfMissing(missing, gone) {
  const values = { count: missing.length, name: missing[0].name };
  callbacks.warn(t(`gone.${gone ?? "photos"}`, values));
}

function addFromServer(state) {
  const photo = createPhoto(state.name, null, state.look.model);
  photo.state = state; // its status is not announced
  update(photo, state);
  photos.push(photo);
  callbacks.onAdd([]);
}

/** Tell whether the server has the look already, as after a movement that was taken back. */
const isSaved = (photo) =>
  photo.savedAt !== Infinity && sameLook(settledLook(photo), photo.state.look);

/** Save the look of a photo on the server, for a reload and for other tabs. */
function saveLook(photo) {
  photo.savedAt = Infinity;
  if (photo.saving) return; // that request will send it
  photo.saving = true;
  enqueueChange(async () => {
    photo.saving = false;
    const look = settledLook(photo);
    try {
      if (removedIds.has(photo.id)) return;
      photo.sentLook = look;
      store(photo); // a reload may come before the response
      update(photo, await request(`photos/${photo.id}`, { method: "PATCH", json: look }));
      store(photo);
      notifyTabs();
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (error.status === 404) refresh();
      else refuseSavedLook(photo, look, error.message);
    } finally {
      if (!photo.saving) photo.savedAt = performance.now();
    }
  });
}

/** Change the look of an uploaded photo once the server has checked it; throws its RequestError. */
export async function requestLook(photo, changes) {
  const options = { method: "PATCH", json: changes };
  const state = await enqueueChange(() => request(`photos/${photo.id}`, options));
  update(photo, state);
  photo.savedAt = performance.now();
  // As the server writes them. It has them, so they are not sent again, which it might refuse: by
  // now it may know the size of the photo.
  const checked = Object.keys(changes).map((key) => [key, state.look[key]]);
  changeLook([photo], Object.fromEntries(checked));
  notifyTabs();
}

/** Warn that the server could not make a look, and return to the last one that was painted. */
export function refuseLook(photo, look, message) {
  const good = photo.goodLook ?? { ...DEFAULT_LOOK, truncated: look.truncated };
  replaceLook(photo, look, good, message);
}

/** Warn that the server does not take a look, and return to the one that it has. */
function refuseSavedLook(photo, look, message) {
  const { goodLook, state } = photo;
  // Its picture may have been painted before its refusal arrived.
  if (goodLook && sameLook(goodLook, look)) photo.goodLook = state.look;
  replaceLook(photo, look, state.look, message);
}

/** Replace a refused look, unless it was changed meanwhile. */
function replaceLook(photo, look, good, message) {
  callbacks.warn(message);
  if (!sameLook(photo.look, look) || photo.changing) return;
  if (!sameLook(good, look)) rejectLook(photo, good);
}

/** Prepare a failed photo again, with changes of its look. */
export async function retryPhoto(photo, looks) {
  try {
    const state = await request(`photos/${photo.id}/retry`, { method: "POST", json: looks });
    update(photo, state);
    resetHistory(photo);
    notifyTabs();
    refresh();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    callbacks.warn(error.message);
  }
  callbacks.onChange();
}

/** Remove photos from the page; the server is told by `finishRemoval`. */
export function removePhotos(list) {
  for (const photo of list) {
    const index = photos.indexOf(photo);
    photos.splice(index, 1);
    removed.push({ photo, index });
  }
  storeRemoved();
  callbacks.onChange();
}

/** Return the photos whose removal can be undone. */
export const removedPhotos = () => removed.map(({ photo }) => photo);

/** Bring the removed photos back, and return them. */
export function undoRemoval() {
  const restored = removed.splice(0).reverse();
  for (const { photo, index } of restored) photos.splice(index, 0, photo);
  storeRemoved();
  startUploads();
  callbacks.onChange();
  return restored.map(({ photo }) => photo).reverse();
}

/** Delete the removed photos on the server; `keepalive` lets the requests outlive the page. */
export function finishRemoval({ keepalive = false } = {}) {
  for (const { photo } of removed.splice(0)) {
    forget(photo);
    if (!photo.id) continue;
    undeletedIds.add(photo.id);
    if (keepalive) send(`photos/${photo.id}`, { method: "DELETE", keepalive });
    else deleteOnServer(photo.id);
  }
  storeRemoved();
}

export function removeAll() {
  finishRemoval();
  for (const photo of photos.splice(0)) forget(photo);
  sessionStorage.removeItem(CHOSEN);
  removal = enqueueChange(async () => {
    await request("photos", { method: "DELETE" });
    notifyTabs();
  });
  callbacks.onChange();
}

/** Remember the removals that the server does not know yet, so that a reload does not undo them. */
function storeRemoved() {
  const ids = removed.map(({ photo }) => photo.id).filter((id) => id);
  storeItem(REMOVED, [...ids, ...undeletedIds]);
}

function deleteOnServer(id) {
  removedIds.add(id);
  enqueueChange(async () => {
    try {
      await request(`photos/${id}`, { method: "DELETE" });
      notifyTabs();
    } catch (error) {
      if (!(error instanceof RequestError)) throw error; // else it is deleted already
    }
    undeletedIds.delete(id);
    storeRemoved();
  });
}

/** Stop the upload of a photo that is no longer on the page, and free its memory. */
function forget(photo) {
  if (photo.id) removedIds.add(photo.id);
  photo.abort.abort();
  revokeFileUrl(photo);
  forgetPictures(photo);
}

export function revokeFileUrl(photo) {
  if (photo.fileUrl) URL.revokeObjectURL(photo.fileUrl);
  photo.fileUrl = null;
}

const notifyTabs = () => otherTabs.postMessage("changed");

function enqueueChange(send) {
  changes = changes.catch(() => {}).then(send);
  return changes;
}
