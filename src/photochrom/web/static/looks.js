// Looks: how each photo is made, and the history of its changes. docs/web.md lists the keys.

import { resultSize } from "./geometry.js";

const MERGE_TIME = 800; // ms; the steps of a slider that is moved by keys are one change
const MERGED = new Set(["saturation", "strength", "straighten", "crop", "places of hints"]);
const MAX_ENTRIES = 100;
const STORAGE = "photochrom.history."; // and the photo's ID; in this tab only

/** All keys, in the order of URLs. */
export const DEFAULT_LOOK = Object.freeze({
  saturation: 1,
  strength: 1,
  size: null,
  mark: true,
  model: document.body.dataset.model,
  turn: 0,
  straighten: 0,
  crop: null, // or [left, top, width, height] in px of the turned and straightened photo
  format: null, // or "jpeg"
  truncated: false,
  hints: [], // {x, y, color} in px of the upright photo, before "turn"
});

/** How the photo is cut and turned. */
export const GEOMETRY_KEYS = ["turn", "straighten", "crop"];

/** The keys that change the pixels. */
export const PICTURE_KEYS = Object.keys(DEFAULT_LOOK).filter(
  (key) => key !== "mark" && key !== "format",
);

let onChange = () => {};

/** Call back with a photo after each change of its look by the user. */
export function onLookChange(callback) {
  onChange = callback;
}

/** Return a query string; null is an empty value. */
export function lookQuery(look, keys = Object.keys(DEFAULT_LOOK)) {
  const value = (key) => (key === "hints" ? hintsText(look.hints) : String(look[key] ?? ""));
  return String(new URLSearchParams(keys.map((key) => [key, value(key)])));
}

const hintsText = (hints) => hints.map(({ x, y, color }) => `${x},${y},${color}`).join(";");

/** Return whether a model takes hints. */
export function takesHints(model) {
  const { options } = document.getElementById("option-model");
  return [...options].find(({ value }) => value === model)?.dataset.hints === "true";
}

/** Return whether two looks are equal in some keys. */
export const sameLook = (a, b, keys) => lookQuery(a, keys) === lookQuery(b, keys);

/**
 * Change the looks of photos.
 *
 * @param {object} changes Part of a look.
 * @param {{settled: boolean}} options Whether the change is complete, and so an entry of the
 *   history; not while a slider or a handle moves.
 */
export function changeLook(photos, changes, { settled = true } = {}) {
  for (const photo of photos) {
    const look = fitHints(fitSize({ ...photo.look, ...changes }, photo));
    if (settled && !photo.changing && sameLook(look, photo.look)) continue;
    photo.look = look;
    photo.changing = !settled;
    if (settled) record(photo);
    onChange(photo);
  }
}

/** Return a look without its version if that needs more pixels than a crop leaves. */
function fitSize(look, { state }) {
  if (!look.size || !state?.width) return look;
  const fits = look.size <= Math.min(...resultSize(look, state.width, state.height));
  return fits ? look : { ...look, size: null };
}

/** Return a look without its hints if the model takes none. */
const fitHints = (look) =>
  look.hints.length && !takesHints(look.model) ? { ...look, hints: [] } : look;

/** Add the look of a photo to its history, if it differs. */
function record(photo) {
  const { history, look } = photo;
  const current = history.entries[history.index];
  const changed = describeChange(current, look);
  if (!changed) return;
  const now = performance.now();
  const merge =
    changed === history.changed && MERGED.has(changed) && now - history.changedAt < MERGE_TIME;
  if (!merge) history.index++;
  history.entries.splice(history.index, Infinity, look);
  if (history.entries.length > MAX_ENTRIES) history.index -= history.entries.splice(0, 1).length;
  Object.assign(history, { changed, changedAt: now });
  store(photo);
}

/** Return the keys that differ, as a text. */
function describeChange(before, after) {
  const changed = Object.keys(DEFAULT_LOOK).filter((key) => !sameLook(before, after, [key]));
  const [old, now] = [before, after].map(({ hints }) => hints.map(({ color }) => color).join());
  return changed.join() === "hints" && old === now ? "places of hints" : changed.join();
}

/** Return the history of a photo that has one look. */
export const createHistory = (look) => ({ entries: [look], index: 0, changed: "", changedAt: 0 });

/** Return the look without what moves at the moment. */
export const settledLook = ({ history }) => history.entries[history.index];

/** Take over a look that was not chosen in this tab; it is an entry too. */
export function adoptLook(photo, look) {
  photo.look = look;
  record(photo);
}

export const canUndo = ({ history }) => history.index > 0;
export const canRedo = ({ history }) => history.index < history.entries.length - 1;

/** Go back by one change (-1), or forward (1). */
export function stepHistory(photo, step) {
  const { history } = photo;
  if (!history.entries[history.index + step]) return;
  history.index += step;
  history.changed = "";
  photo.look = history.entries[history.index];
  photo.changing = false;
  store(photo);
  onChange(photo);
}

/** Return from a look that could not be shown to one that could, and forget the former. */
export function rejectLook(photo, goodLook) {
  const { history } = photo;
  const previous = history.entries[history.index - 1];
  if (previous && sameLook(previous, goodLook)) history.index--;
  history.entries.splice(history.index, Infinity, goodLook);
  history.changed = "";
  photo.look = goodLook;
  photo.changing = false;
  store(photo);
  onChange(photo);
}

/** Keep the history of a photo in this tab, and the looks that the server may have from it. */
export function store({ id, state, sentLook, history: { entries, index } }) {
  storeItem(STORAGE + id, { entries, index, saved: [state.look, sentLook ?? state.look] });
}

/** Keep a value in this tab for a reload, which forgets it if the storage is full. */
export function storeItem(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch (error) {
    if (error.name !== "QuotaExceededError") throw error;
    sessionStorage.removeItem(key);
  }
}

/** Return a value that was kept, or null. */
export const readItem = (key) => JSON.parse(sessionStorage.getItem(key));

/**
 * Set the look of a photo that is new on the page, and read the history that was stored before a
 * reload.
 *
 * Returns whether the latest look was not saved then, so that the server has another.
 */
export function restoreHistory(photo) {
  const { look } = photo.state;
  const { saved = [], ...stored } = readItem(STORAGE + photo.id) ?? {};
  photo.history = { ...createHistory(look), ...stored };
  const isFromHere = saved.some((known) => sameLook(known, look));
  const isSaved = !isFromHere || sameLook(settledLook(photo), look);
  photo.look = isSaved ? look : settledLook(photo);
  record(photo); // another tab may have changed it meanwhile
  return !isSaved;
}

/** Forget all changes of a photo. */
export function resetHistory(photo) {
  photo.look = photo.state.look;
  photo.history = createHistory(photo.look);
  sessionStorage.removeItem(STORAGE + photo.id);
}

/** Delete the stored histories of all photos but these. */
export function forgetHistories(ids) {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(STORAGE) && !ids.has(key.slice(STORAGE.length))) {
      sessionStorage.removeItem(key);
    }
  }
}
