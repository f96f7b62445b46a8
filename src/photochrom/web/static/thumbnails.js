// The thumbnails: a listbox with one selected photo, or several while the grid is open.

import { RequestError, loadImage } from "./api.js";
import { PICTURE_KEYS, lookQuery, settledLook } from "./looks.js";
import { errorOf, revokeFileUrl, statusOf } from "./photos.js";
import { formatPercent, t } from "./texts.js";

const FADE_DURATION = 800; // ms until a new image covers the old one, see page.css
const MAX_REQUESTS = 3; // at the same time
const RETRY_DELAYS = [1000, 3000, 10_000, 60_000]; // ms
const LOADING_MARGIN = "300px"; // around the visible part

const list = document.getElementById("thumbnails");
const items = new Map(); // from each photo to the elements of its thumbnail
const photosOf = new WeakMap(); // from each element to its photo
const nearby = new Set(); // items in the visible part, and in the margin around it
let requests = 0;

/** The photos that are selected while the grid is open. */
export const selection = new Set();

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const item = items.get(photosOf.get(target));
      if (item && isIntersecting) nearby.add(item);
      else nearby.delete(item);
    }
    loadNearby();
  },
  { rootMargin: LOADING_MARGIN, scrollMargin: LOADING_MARGIN },
);

/** Describe the status of a photo in a few words. */
export function statusText(photo) {
  const status = statusOf(photo);
  const { percent } = photo;
  if (status === "uploading") {
    if (percent === 100) return t("status.uploaded");
    return t("status.uploading", { percent: formatPercent(percent / 100) });
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

/**
 * Update the list.
 *
 * @param {object} shown The photo in the viewer.
 * @param {object} active The photo whose thumbnail is reached by Tab.
 * @param {boolean} multiple Whether `selection` is shown as selected, instead of `shown`.
 */
export function drawThumbnails(photos, { shown, active = shown, multiple = false }) {
  const present = new Set(photos);
  for (const [photo, item] of items) if (!present.has(photo)) removeItem(photo, item);
  let next = list.firstElementChild;
  for (const photo of photos) {
    if (!items.has(photo)) items.set(photo, createItem(photo));
    const item = items.get(photo);
    if (item.option === next) next = next.nextElementSibling;
    else list.insertBefore(item.option, next);
    // Insert before observing, so that the observer is called for a laid out element.
    if (!item.observed) observer.observe(item.option);
    item.observed = true;
    const selected = multiple ? selection.has(photo) : photo === shown;
    updateItem(photo, item, { shown: photo === shown, selected, active: photo === active });
  }
  list.setAttribute("aria-multiselectable", String(multiple));
  loadNearby();
}

/** Return the photo of an element in the list, or undefined. */
export const photoAt = (element) => photosOf.get(element.closest(".thumbnail"));

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

function createItem(photo) {
  const add = (parent, className, text = "") => {
    const element = parent.appendChild(document.createElement("span"));
    element.className = className;
    element.textContent = text;
    return element;
  };
  const option = document.createElement("div");
  option.className = "thumbnail";
  option.setAttribute("role", "option");
  photosOf.set(option, photo);
  const preview = add(option, "preview");
  add(preview, "file-type", fileType(photo)).ariaHidden = "true";
  add(option, "check").ariaHidden = "true"; // the option itself is selected
  const bar = add(option, "progress-bar");
  add(option, "file-name", photo.name);
  const text = add(option, "status-text");
  return {
    ...{ option, preview, bar, text },
    drawn: "", // what the elements show
    look: null, // of the result that is to be shown
    url: null, // of the result that is shown
    wanted: null, // the URL for `look`
    request: null, // aborts the request for an image
    failures: 0,
    isPaused: false, // after a failure
    observed: false,
  };
}

function removeItem(photo, item) {
  observer.unobserve(item.option);
  nearby.delete(item);
  cancelRequest(item);
  item.option.remove();
  items.delete(photo);
  selection.delete(photo);
}

/** Change what differs, as this is called for hundreds of items whenever one has changed. */
function updateItem(photo, item, { shown, selected, active }) {
  const { option } = item;
  const status = statusOf(photo);
  const text = statusText(photo);
  const title = status === "failed" ? errorOf(photo) : photo.name;
  const drawn = [status, text, title, shown, selected, active].join("\n");
  if (item.drawn !== drawn) {
    item.drawn = drawn;
    option.dataset.status = status;
    option.setAttribute("aria-selected", String(selected));
    if (shown) option.setAttribute("aria-current", "true");
    else option.removeAttribute("aria-current");
    option.tabIndex = active ? 0 : -1;
    option.title = title;
    item.text.textContent = text;
    item.bar.style.setProperty("--done", status === "uploading" ? `${photo.percent}%` : "0%");
  }
  const look = settledLook(photo);
  if (status !== "ready" || item.look === look) return;
  item.look = look;
  const wanted = `photos/${photo.id}/thumbnail?${lookQuery(look, PICTURE_KEYS)}`;
  if (item.wanted === wanted) return;
  Object.assign(item, { wanted, failures: 0, isPaused: false });
  cancelRequest(item);
}

/** Load the images of the visible thumbnails, a few at a time. */
function loadNearby() {
  for (const item of nearby) {
    const photo = photosOf.get(item.option);
    if (photo.fileUrl && !item.url && !item.preview.querySelector("img")) {
      showOriginal(item, photo.fileUrl);
    }
    const isMissing = item.wanted && item.wanted !== item.url;
    if (isMissing && !item.request && !item.isPaused && requests < MAX_REQUESTS) {
      loadResult(item, photo);
    }
  }
}

/** Show the user's file, decoded by the browser in the background, as it may be large. */
function showOriginal({ preview }, url) {
  const image = new Image();
  image.alt = "";
  image.className = "original";
  image.draggable = false;
  image.decoding = "async";
  image.onerror = () => image.classList.add("unreadable");
  image.src = url;
  preview.append(image);
}

async function loadResult(item, photo) {
  const url = item.wanted;
  const current = (item.request = new AbortController());
  requests++;
  let image = null;
  try {
    image = await loadImage(url, { signal: current.signal });
  } catch (error) {
    // The viewer reports errors of the server.
    if (!(error instanceof RequestError) && !current.signal.aborted) throw error;
  } finally {
    requests--;
  }
  if (item.request === current) {
    item.request = null;
    if (image) showResult(item, url, image, photo);
    else retryLater(item);
  }
  loadNearby();
}

function retryLater(item) {
  const { wanted } = item;
  const delay = RETRY_DELAYS[Math.min(item.failures, RETRY_DELAYS.length - 1)];
  item.failures++;
  item.isPaused = true;
  setTimeout(() => {
    if (item.wanted !== wanted) return;
    item.isPaused = false;
    loadNearby();
  }, delay);
}

function cancelRequest(item) {
  item.request?.abort();
  item.request = null;
}

/** Fade in the thumbnail in colour, then remove the images under it. */
function showResult(item, url, image, photo) {
  image.alt = "";
  image.className = item.url ? "colored repainted" : "colored";
  item.url = url;
  const covered = [...item.preview.querySelectorAll("img")];
  item.preview.append(image);
  setTimeout(() => {
    for (const old of covered) old.remove();
    revokeFileUrl(photo);
  }, FADE_DURATION);
}
