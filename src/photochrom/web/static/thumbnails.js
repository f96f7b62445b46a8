// The row of thumbnails: a listbox with one selected photo.

import { loadImage } from "./api.js";
import { PICTURE_KEYS, lookQuery } from "./looks.js";
import { errorOf, revokeFileUrl, statusOf } from "./photos.js";
import { t } from "./texts.js";

const FADE_DURATION = 800; // ms until a new image covers the old one, see page.css

const list = document.getElementById("thumbnails");
const items = new Map(); // from each photo to the elements of its thumbnail

/** Describe the status of a photo in a few words. */
export function statusText(photo) {
  const status = statusOf(photo);
  const { percent } = photo;
  if (status === "uploading") {
    return percent < 100 ? t("status.uploading", { percent }) : t("status.uploaded");
  }
  if (status === "waiting") {
    const { position } = photo.state;
    return position > 1 ? t("status.ahead", { count: position - 1 }) : t("status.next");
  }
  return t(`status.${status}`);
}

/** Return a file's extension, the placeholder for images that the browser cannot show. */
export function fileType(photo) {
  const dot = photo.name.lastIndexOf(".");
  return dot > 0 ? photo.name.slice(dot + 1, dot + 6).toUpperCase() : "?";
}

/** Update the row; `onSelect(photo)` is called when a photo is clicked. */
export function drawThumbnails(photos, selected, onSelect) {
  for (const [photo, { option }] of items) {
    if (photos.includes(photo)) continue;
    option.remove();
    items.delete(photo);
  }
  for (const [index, photo] of photos.entries()) {
    if (!items.has(photo)) items.set(photo, createItem(photo, onSelect));
    const item = items.get(photo);
    const current = list.children[index] ?? null;
    if (current !== item.option) list.insertBefore(item.option, current);
    updateItem(photo, item, photo === selected);
  }
}

export function focusThumbnail(photo) {
  items.get(photo)?.option.focus();
}

export function scrollToThumbnail(photo) {
  items.get(photo)?.option.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** Return the <img> of a photo that is shown, or null. */
export function thumbnailImage(photo) {
  const images = [...(items.get(photo)?.preview.querySelectorAll("img") ?? [])];
  return images.findLast(({ complete, naturalWidth }) => complete && naturalWidth) ?? null;
}

function createItem(photo, onSelect) {
  const add = (parent, className, text = "") => {
    const element = parent.appendChild(document.createElement("span"));
    element.className = className;
    element.textContent = text;
    return element;
  };
  const option = document.createElement("div");
  option.className = "thumbnail";
  option.setAttribute("role", "option");
  option.addEventListener("click", () => onSelect(photo));
  const preview = add(option, "preview");
  add(preview, "file-type", fileType(photo)).ariaHidden = "true";
  const bar = add(option, "progress-bar");
  add(option, "file-name", photo.name);
  const text = add(option, "status-text");
  const item = { option, preview, bar, text, url: null };
  if (photo.fileUrl) showOriginal(item, photo.fileUrl);
  return item;
}

function updateItem(photo, item, selected) {
  const status = statusOf(photo);
  const { option } = item;
  option.dataset.status = status;
  option.setAttribute("aria-selected", String(selected));
  option.tabIndex = selected ? 0 : -1;
  option.title = status === "failed" ? errorOf(photo) : photo.name;
  const text = statusText(photo);
  if (item.text.textContent !== text) item.text.textContent = text;
  item.bar.style.setProperty("--done", status === "uploading" ? `${photo.percent}%` : "0%");
  const url = `photos/${photo.id}/thumbnail?${lookQuery(photo.look, PICTURE_KEYS)}`;
  if (status === "ready" && !photo.changing && item.url !== url) {
    item.url = url;
    showResult(item, url, photo);
  }
}

/** Show the user's file, decoded by the browser in the background, as it may be large. */
function showOriginal({ preview }, url) {
  const image = new Image();
  image.alt = "";
  image.className = "original";
  image.draggable = false;
  image.decoding = "async";
  image.onerror = () => image.remove();
  image.src = url;
  preview.append(image);
}

/** Fade in the thumbnail in colour, then remove the images under it. */
async function showResult({ preview }, url, photo) {
  const image = await loadImage(url).catch(() => null); // the viewer reports errors
  if (!image) return;
  image.alt = "";
  image.className = "colored";
  const covered = [...preview.querySelectorAll("img")];
  preview.append(image);
  setTimeout(() => {
    for (const old of covered) old.remove();
    revokeFileUrl(photo);
  }, FADE_DURATION);
}
