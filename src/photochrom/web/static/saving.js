// Saving the result of one photo: to a file, to the clipboard, by the share sheet, or with the
// original beside it.

import { RequestError, request } from "./api.js";
import { makeHintFile } from "./hint_files.js";
import { GEOMETRY_KEYS, lookQuery, sameLook } from "./looks.js";
import { statusOf } from "./photos.js";
import { t } from "./texts.js";

const JPEG = /\.(jpe?g|jpe|jfif|mpo|jps)$/i;
const BECOMES_PNG = /\.(hei[cf]s?|hif|avifs|jxl|jp2|j2[kc]|jp[cfxmh])$/i; // ten times as large
const MAX_CLIPBOARD_PIXELS = 16e6; // the limit of a canvas on iPhones
const MAX_COMPARISON_SIZE = 2000; // px
const PREVIEW_SIZE = 1600; // px
const GAP = 8; // px, between the two pictures

const $ = (id) => document.getElementById(id);
const actions = {
  "save-as-jpeg": (photo) => save(photo, "jpeg"),
  "save-as-png": (photo) => save(photo, null),
  "copy": copy,
  "share": (photo) => share(photo, makeJpeg),
  "save-hints": (photo) => saveFile(makeHintFile(photo)),
  "save-comparison": (photo) => run(photo, async () => saveFile(await makeComparison(photo))),
  "share-comparison": (photo) => share(photo, makeComparison),
};
const canCopy = isSecureContext && Boolean(navigator.clipboard?.write) && "ClipboardItem" in window;
const canShare = checkShare();

let shown = null;
let shareable = null; // {photo, look, make, file} that is ready, but needs another click
let callbacks;

/** Call back: onChange(), announce(message) to screen readers, showError(error), warn(message). */
export function startSaving(newCallbacks) {
  callbacks = newCallbacks;
  $("download").addEventListener("click", (event) => {
    event.preventDefault();
    if (shown && statusOf(shown) === "ready") download(shown);
  });
  for (const [id, act] of Object.entries(actions)) {
    $(id).addEventListener("click", () => {
      openMenu(false);
      act(shown);
    });
  }
  $("save-menu-button").addEventListener("click", ({ currentTarget }) => {
    if (currentTarget.ariaDisabled !== "true") openMenu($("save-menu").hidden);
  });
  document.addEventListener("keydown", onKeyDown);
  const closeOutside = (element) => {
    if (!element?.closest("#save-menu, #save-menu-button")) openMenu(false);
  };
  document.addEventListener("pointerdown", ({ target }) => closeOutside(target));
  $("save-menu").addEventListener("focusout", (event) => closeOutside(event.relatedTarget));
}

/** Update the download button of the photo in the viewer, and what its menu offers. */
export function drawSaving(photo) {
  if (photo !== shown) openMenu(false);
  shown = photo;
  const isReady = statusOf(photo) === "ready";
  const link = $("download");
  // The address is for "Save link as", and without effect on the button of the static site; a click
  // makes a request, so that errors can be shown.
  if (isReady) link.href = resultUrl(photo, formatOf(photo));
  else link.removeAttribute("href");
  link.setAttribute("aria-disabled", String(!isReady));
  link.toggleAttribute("data-busy", photo.downloading);
  link.textContent = t(photo.downloading ? "download.busy" : "download.button");
  $("save-menu-button").ariaDisabled = String(!isReady || photo.downloading);
  $("save-as-jpeg").hidden = JPEG.test(photo.name) || formatOf(photo) === "jpeg";
  $("save-as-png").hidden = !BECOMES_PNG.test(photo.name) || photo.look.format === "jpeg";
  $("save-hints").hidden = !photo.look.hints.length;
  $("copy").hidden = !canCopy;
  $("share").hidden = $("share-comparison").hidden = !canShare;
}

/** Return the format of a download: null for the original's, or "jpeg" where that is not written. */
export function formatOf({ name, look }) {
  return look.format ?? (BECOMES_PNG.test(name) ? "jpeg" : null);
}

/** Download the result of a photo. */
export const download = (photo) => save(photo, formatOf(photo));

const save = (photo, format) => run(photo, async () => saveFile(await fetchResult(photo, format)));

/** Do one thing at a time with a photo, and show its errors. */
async function run(photo, act) {
  if (photo.downloading) return;
  photo.downloading = true;
  callbacks.onChange();
  try {
    await act();
  } catch (error) {
    if (error instanceof RequestError) callbacks.showError(error);
    else if (!(error instanceof DOMException)) throw error;
    // AbortError: the user closed the share sheet.
    else if (error.name !== "AbortError") callbacks.warn(t("save.failed", { name: photo.name }));
  } finally {
    photo.downloading = false;
    callbacks.onChange();
  }
}

function resultUrl({ id, look }, format) {
  return `photos/${id}/result?${lookQuery({ ...look, format })}`;
}

/** Return the File of a result, with the server's name. */
const fetchResult = (photo, format) => request(resultUrl(photo, format), { as: "file" });

function saveFile(file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // after the browser has read it
  callbacks.announce(t("download.saved", { name: file.name }));
}

function copy(photo) {
  run(photo, async () => {
    let failure = null;
    const png = makePng(photo).catch((error) => {
      failure = error;
      throw error;
    });
    // Safari requires the call to be made during the click, before the picture is there.
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]).catch((error) => {
      throw failure ?? error;
    });
    callbacks.announce(t("save.copied", { name: photo.name }));
  });
}

const makeJpeg = (photo) => fetchResult(photo, "jpeg");

async function makePng(photo) {
  const picture = await createImageBitmap(await makeJpeg(photo));
  const { width, height } = picture;
  const scale = Math.min(1, Math.sqrt(MAX_CLIPBOARD_PIXELS / (width * height)));
  const [canvas, context] = createCanvas(width * scale, height * scale);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return toBlob(canvas, "image/png");
}

/**
 * Open the share sheet with a file.
 *
 * A browser allows this only within some seconds of a click. If making the file took longer, it is
 * kept, and the user is asked to click again.
 */
function share(photo, make) {
  run(photo, async () => {
    const { look } = photo;
    const isKept =
      shareable?.photo === photo && shareable.make === make && sameLook(shareable.look, look);
    const file = isKept ? shareable.file : await make(photo);
    shareable = { photo, look, make, file };
    try {
      await navigator.share({ files: [file] });
      shareable = null;
    } catch (error) {
      if (error.name !== "NotAllowedError") throw error;
      callbacks.warn(t("share.again", { name: file.name }));
    }
  });
}

function checkShare() {
  const file = new File([""], "photo.jpg", { type: "image/jpeg" });
  return isSecureContext && Boolean(navigator.canShare?.({ files: [file] }));
}

/** Return a JPEG file with the original and the result side by side, or one above the other. */
async function makeComparison(photo) {
  const path = `photos/${photo.id}`;
  const { look } = photo;
  const geometry = lookQuery(look, [...GEOMETRY_KEYS, "truncated"]);
  const pictures = await Promise.all(
    [
      `${path}/before?${geometry}&max_size=${PREVIEW_SIZE}`,
      `${path}/after?${lookQuery(look)}&max_size=${PREVIEW_SIZE}`,
    ].map(async (url) => createImageBitmap(await request(url, { as: "blob" }))),
  );
  const canvas = drawComparison(pictures, [t("viewer.before"), t("comparison.after")]);
  const name = `${photo.name.replace(/\.[^.]*$/, "")}-before-after.jpg`;
  return new File([await toBlob(canvas, "image/jpeg")], name, { type: "image/jpeg" });
}

function drawComparison(pictures, labels) {
  const [{ width, height }] = pictures;
  const isStacked = width > 1.2 * height;
  const sides = isStacked ? [width, 2 * height + GAP] : [2 * width + GAP, height];
  const scale = Math.min(1, MAX_COMPARISON_SIZE / Math.max(...sides));
  const [canvas, context] = createCanvas(...sides.map((side) => side * scale));
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  const fontSize = Math.max(12 / scale, Math.min(width, height) / 28);
  context.font = `${fontSize}px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "middle";
  for (const [index, picture] of pictures.entries()) {
    const [left, top] = isStacked ? [0, index * (height + GAP)] : [index * (width + GAP), 0];
    context.drawImage(picture, left, top, width, height);
    drawLabel(context, labels[index], left + fontSize / 2, top + height - fontSize / 2, fontSize);
  }
  return canvas;
}

/** Draw a text on a dark ground, whose lower left corner is given. */
function drawLabel(context, text, left, bottom, fontSize) {
  const [width, height] = [context.measureText(text).width + fontSize, 1.7 * fontSize];
  context.fillStyle = "rgb(20 17 14 / 62%)";
  context.beginPath();
  context.roundRect(left, bottom - height, width, height, height / 2);
  context.fill();
  context.fillStyle = "#fff";
  context.fillText(text, left + fontSize / 2, bottom - height / 2);
}

function createCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.floor(width);
  canvas.height = Math.floor(height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  return [canvas, context];
}

/** Encode a canvas; it throws a DOMException if there is not enough memory. */
async function toBlob(canvas, type) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, 0.92));
  if (!blob) throw new DOMException("the canvas is too large", "EncodingError");
  return blob;
}

function openMenu(open) {
  if ($("save-menu").hidden !== open) return;
  if ($("save-menu").contains(document.activeElement)) $("save-menu-button").focus();
  $("save-menu").hidden = !open;
  $("save-menu-button").setAttribute("aria-expanded", String(open));
  if (open) $("save-menu").querySelector("button:not([hidden])").focus();
}

/** Close the menu by Escape, and move in it by arrows. */
function onKeyDown(event) {
  if ($("save-menu").hidden) return;
  const buttons = [...$("save-menu").querySelectorAll("button:not([hidden])")];
  const index = buttons.indexOf(document.activeElement);
  if (event.key === "Escape") openMenu(false);
  else if (index >= 0 && event.key === "ArrowDown") buttons.at((index + 1) % buttons.length).focus();
  else if (index >= 0 && event.key === "ArrowUp") buttons.at(index - 1).focus();
  else return;
  event.preventDefault();
}
