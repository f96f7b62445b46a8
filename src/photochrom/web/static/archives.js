// Downloading several results as one zip, which the server makes while the browser saves it.

import { RequestError, request, sleep } from "./api.js";
import { statusOf } from "./photos.js";
import { download, formatOf } from "./saving.js";
import { t } from "./texts.js";
import { saveResponse } from "./transport.js";

const POLL = 500; // ms
const MAX_NAMES = 5; // of failed photos in a sentence

const $ = (id) => document.getElementById(id);

let current = null; // ID of the archive that is being made
let callbacks;

/** Call back: announce(message) to screen readers, showError(error), warn(message). */
export function startArchives(newCallbacks) {
  callbacks = newCallbacks;
  $("archive-stop").addEventListener("click", () => stop(current));
}

/**
 * Download the results of those photos that are ready: a zip, or a file if there is only one.
 *
 * The others are named at the end.
 */
export async function downloadAll(photos) {
  const isReady = (photo) => statusOf(photo) === "ready";
  const ready = photos.filter(isReady);
  const missing = photos.filter((photo) => !isReady(photo)).map(({ name }) => name);
  if (!ready.length) {
    callbacks.warn(t("archive.none_ready"));
  } else if (ready.length === 1) {
    await download(ready[0]);
    if (missing.length) callbacks.warn(nameMissing(missing));
  } else if (current) {
    callbacks.warn(t("archive.busy"));
  } else {
    await makeArchive(ready, missing);
  }
}

async function makeArchive(photos, missing) {
  const json = {
    photos: photos.map((photo) => ({
      id: photo.id,
      look: { ...photo.look, format: formatOf(photo) },
    })),
  };
  current = "requested";
  draw({ done: 0, total: photos.length, name: photos[0].name });
  callbacks.announce(t("archive.started", { count: photos.length }));
  try {
    const { id } = await request("archives", { method: "POST", json });
    current = id;
    saveResponse(`archives/${id}/photochrom.zip`, "photochrom.zip");
    report(await follow(id), missing);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    callbacks.showError(error);
  } finally {
    current = null;
    $("archive").hidden = true;
  }
}

/** Show the progress until the archive is finished, and return its last state. */
async function follow(id) {
  for (;;) {
    const state = await request(`archives/${id}`);
    if (state.finished || state.stopped) return state;
    draw(state);
    await sleep(POLL);
  }
}

function draw({ done, total, name }) {
  $("archive").hidden = false;
  $("archive-text").textContent = name
    ? t("archive.making", { number: Math.min(done + 1, total), total, name })
    : t("archive.waiting");
  $("archive-progress").max = total;
  $("archive-progress").value = done;
}

function report({ done, total, failed, stopped }, notReady) {
  const values = { count: done - failed.length, total: total + notReady.length };
  const message = t(stopped ? "archive.stopped" : "archive.finished", values);
  callbacks.announce(message);
  const missing = [...failed, ...notReady];
  if (missing.length) callbacks.warn(`${message} ${nameMissing(missing)}`);
}

function nameMissing(names) {
  const list = names.slice(0, MAX_NAMES).join(", ");
  const more = names.length - MAX_NAMES;
  const all = more > 0 ? t("archive.names_more", { names: list, count: more }) : list;
  return t("archive.missing", { names: all });
}

async function stop(id) {
  if (!id || id === "requested") return;
  $("archive-stop").disabled = true;
  try {
    await request(`archives/${id}`, { method: "DELETE" });
  } catch (error) {
    if (!(error instanceof RequestError)) throw error; // else it is finished already
  } finally {
    $("archive-stop").disabled = false;
  }
}
