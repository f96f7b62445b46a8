// Saving results: one photo, and all photos in a zip.

import { RequestError, request } from "./api.js";
import { lookQuery } from "./looks.js";
import { changesSaved } from "./photos.js";
import { t } from "./texts.js";

const $ = (id) => document.getElementById(id);

let callbacks;

/** Call back: onChange(), announce(message) to screen readers, showError(error). */
export function startSaving(newCallbacks) {
  callbacks = newCallbacks;
  startDownloadAll();
}

/** Download a result by a request, so that errors can be shown. */
export async function download(photo) {
  if (photo.downloading) return;
  photo.downloading = true;
  callbacks.onChange();
  try {
    const file = await request(`photos/${photo.id}/result?${lookQuery(photo.look)}`, { as: "blob" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = photo.state.output_name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // after the browser has read it
    callbacks.announce(t("download.saved", { name: photo.state.output_name }));
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    callbacks.showError(error);
  } finally {
    photo.downloading = false;
    callbacks.onChange();
  }
}

function startDownloadAll() {
  let saved = false; // whether the server has all options
  $("download-all").addEventListener("click", async (event) => {
    if (saved) return;
    event.preventDefault();
    await changesSaved();
    saved = true;
    $("download-all").click();
    saved = false;
  });
}
