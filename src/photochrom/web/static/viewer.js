// The large preview: the photo in colour over the original, split by a slider.

import { RequestError } from "./api.js";
import { closeCrop } from "./crop.js";
import { clearDetail, placeDetail, showDetail } from "./detail.js";
import { isKept, picture } from "./pictures.js";
import { formatPercent, t } from "./texts.js";
import { fit, places, setPhotoWidth, startZoom } from "./zoom.js";

const DEFAULT_SPLIT = 65; // % of the width in colour
const REVEAL_DURATION = 1100; // ms
const BUSY_DELAY = 400; // ms until a notice says that the picture is being made
const FIRST_PICTURE_SIZE = 640; // px
const MAX_WAIT = 1000; // ms for a picture that is on its way while another is wanted
const RENDERED = ["saturation", "strength", "max_size"]; // what needs no new prediction
const MOVING = ["hints"]; // what is predicted fast enough to follow a movement

const $ = (id) => document.getElementById(id);
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

let wanted = {}; // the view of the latest call
let shown = {}; // the view whose pictures are shown, without those that are on their way
let loading = null; // aborts the requests for pictures; null: there are none
let loadingSince = 0; // ms
let callbacks;
let revealCount = 0; // stops an animation when another one or the user moves the slider

/**
 * Show a photo: at once its thumbnail, then the original, then the picture in colour.
 *
 * After an error the last good pictures of the photo stay.
 *
 * @param {object} view What to show; the latest call wins.
 * @param {object | null} view.photo
 * @param {object} view.look Of both pictures.
 * @param {string | null} view.before The URL of the original.
 * @param {string | null} view.after The URL of the picture in colour.
 * @param {string | null} view.quick The URL of a small picture in colour, to be shown before
 *   `after` if only the hints have changed.
 * @param {HTMLImageElement | null} view.thumbnail
 * @param {string} view.placeholder A text that replaces a missing original.
 * @param {number | null} view.width Of the result in px.
 * @param {number | null} view.height Of the result in px.
 * @param {((side: string, part: object) => string) | null} view.region Returns the URL of a part
 *   of "before" or "after", given its `left`, `top`, `width` and `height` in px of the result;
 *   null while a slider moves.
 */
export async function showView(view) {
  if (["photo", "before", "after"].every((key) => view[key] === wanted[key])) return;
  const isOther = view.photo !== wanted.photo;
  const isLate = performance.now() - loadingSince > MAX_WAIT;
  if (isOther || isLate || view.before !== wanted.before || !samePrediction(view.after, wanted.after)) {
    loading?.abort();
  }
  if (isOther || view.before !== wanted.before) closeCrop();
  wanted = view;
  if (isOther) showThumbnail(view);
  if (loading && !loading.signal.aborted) return;
  // What is on its way is shown before the latest, so that the picture follows a moving slider.
  for (let view = null; view !== wanted; ) {
    view = wanted;
    const current = (loading = new AbortController());
    loadingSince = performance.now();
    const busy = setTimeout(() => ($("busy").hidden = !$("progress").hidden), BUSY_DELAY);
    try {
      await loadView(view, current.signal);
    } catch (error) {
      if (current.signal.aborted) return;
      if (!(error instanceof RequestError)) throw error;
      callbacks.onError(error, view);
    } finally {
      clearTimeout(busy);
      if (loading === current) {
        loading = null;
        $("busy").hidden = true;
      }
    }
    if (current.signal.aborted) return;
  }
  loadDetail();
}

/** Tell whether two pictures in colour need the same prediction, or follow a movement. */
function samePrediction(...urls) {
  const isMoving = urls.every((url) => url?.includes("&max_size="));
  return equalApartFrom(isMoving ? [...RENDERED, ...MOVING] : RENDERED, ...urls);
}

/** Tell whether two URLs, or null, are equal apart from some keys of their queries. */
function equalApartFrom(keys, ...urls) {
  const [one, other] = urls.map((url) => {
    if (!url) return null;
    const { pathname, searchParams } = new URL(url, location);
    for (const key of keys) searchParams.delete(key);
    return `${pathname}?${searchParams}`;
  });
  return one === other;
}

/** Show a photo before its pictures are loaded, by its thumbnail in grey. */
function showThumbnail(view) {
  const { photo, thumbnail, placeholder } = view;
  const canvas = thumbnail && document.createElement("canvas");
  if (thumbnail) {
    const { naturalWidth, naturalHeight } = thumbnail; // which may be those of the user's file
    const scale = Math.min(1, FIRST_PICTURE_SIZE / Math.max(naturalWidth, naturalHeight));
    canvas.width = Math.max(1, scale * naturalWidth);
    canvas.height = Math.max(1, scale * naturalHeight);
    canvas.getContext("2d").drawImage(thumbnail, 0, 0, canvas.width, canvas.height);
    canvas.setAttribute("role", "img");
    setFrame(canvas, view);
  }
  fit();
  shown = { photo };
  $("busy").hidden = true;
  $("placeholder").textContent = placeholder ?? "";
  setPictures(canvas, null);
}

async function loadView(view, signal) {
  const { photo } = view;
  if (needsQuick(view)) {
    const after = await picture(view.quick, { signal });
    signal.throwIfAborted();
    shown = { photo, before: view.before, after: view.quick, view };
    setPictures($("before").firstChild, after);
  }
  const loadingAfter = view.after && picture(view.after, { signal });
  loadingAfter?.catch(() => {}); // below, unless the original fails first
  if (view.before !== shown.before) {
    const before = view.before && (await picture(view.before, { signal }));
    signal.throwIfAborted();
    shown = { photo, before: view.before };
    if (before) setFrame(before, view);
    $("placeholder").textContent = view.placeholder;
    setPictures(before, null);
  }
  if (view.after !== shown.after) {
    const after = view.after && (await loadingAfter);
    signal.throwIfAborted();
    shown = { photo, before: view.before, after: view.after, view: after && view };
    setPictures($("before").firstChild, after);
    if (after) callbacks.onShown(view);
    if (after && !photo.revealed) {
      photo.revealed = true;
      reveal();
    }
  }
}

function needsQuick({ before, after, quick }) {
  if (!quick || !shown.after || before !== shown.before) return false;
  if ([after, quick].includes(shown.after) || isKept(after)) return false;
  return equalApartFrom(["max_size", ...MOVING], after, shown.after);
}

/** Set the shape of the picture; if it has changed, the whole of it is shown again. */
function setFrame({ naturalWidth, naturalHeight, width, height }, view) {
  const { style } = $("frame");
  const size = [view.width ?? naturalWidth ?? width, view.height ?? naturalHeight ?? height];
  const ratio = size[0] / size[1];
  if (Math.abs(ratio / style.getPropertyValue("--ratio") - 1) > 0.02) fit();
  style.setProperty("--ratio", ratio);
  style.setProperty("--width", `${size[0]}px`);
  setPhotoWidth(view.width ?? null);
}

/** Set the elements of the original and of the picture in colour, or null. */
function setPictures(before, after) {
  const name = shown.photo?.name;
  clearDetail();
  setPicture($("before"), before, t("viewer.before_alt", { name }));
  setPicture($("after"), after, t("viewer.after_alt", { name }));
  $("frame").hidden = !before;
  $("placeholder").hidden = Boolean(before) || !$("placeholder").textContent;
  $("compare").hidden = !(before && after);
}

function setPicture(parent, element, text) {
  if (element) element[element.matches("img") ? "alt" : "ariaLabel"] = text;
  if (element !== parent.firstChild) parent.replaceChildren(...(element ? [element] : []));
}

/**
 * Start the viewer. It calls back: onError(error, view); onDetailError(error), after which all of
 * the picture is still shown; onShown(view) in colour; onMove() and onTap() as `startZoom`.
 */
export function startViewer(newCallbacks) {
  callbacks = newCallbacks;
  startZoom({
    onMove() {
      placeDivider();
      placeDetail();
      callbacks.onMove();
    },
    onRest: loadDetail,
    onTap: callbacks.onTap,
  });
  $("split").addEventListener("input", () => {
    revealCount++;
    setSplit($("split").value);
  });
  const handle = $("handle");
  let offset = 0; // from the divider to the pointer, in px
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault(); // of selecting text
    handle.setPointerCapture(event.pointerId);
    const { left, width } = handle.getBoundingClientRect();
    offset = event.clientX - left - width / 2;
    revealCount++;
    $("split").focus({ preventScroll: true });
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const { left, width } = $("compare").getBoundingClientRect();
    setSplit((100 * (event.clientX - offset - left)) / width);
  });
  setSplit(DEFAULT_SPLIT);
}

/** Set the percentage of the picture's visible part that is in colour. */
function setSplit(percent) {
  const slider = $("split");
  slider.value = percent;
  slider.setAttribute("aria-valuetext", formatPercent(slider.value / 100));
  $("tag-after").classList.toggle("faint", slider.value < 15);
  $("tag-before").classList.toggle("faint", slider.value > 85);
  placeDivider();
}

/** Show the whole picture in colour if a place, in px from the stage's left edge, is not. */
export function showInColor(left) {
  revealCount++;
  const { visible } = places();
  if (left > visible.left + ($("split").value / 100) * visible.width) setSplit(100);
}

/** Place the divider over the visible part of the picture, and cut the original there. */
function placeDivider() {
  const { picture, visible } = places();
  const { style } = $("compare");
  for (const key of ["left", "top", "width", "height"]) style[key] = `${visible[key]}px`;
  style.setProperty("--split", `${$("split").value}%`);
  const place = visible.left + ($("split").value / 100) * visible.width; // of the divider
  $("stage").style.setProperty("--divider", `${place}px`);
  if (!picture.width) return;
  $("frame").style.setProperty("--cut", `${(100 * (place - picture.left)) / picture.width}%`);
}

/** Load what an enlarged picture needs. */
async function loadDetail() {
  const { view } = shown;
  if (!view?.region || loading) return;
  try {
    await showDetail(view, $("after").firstChild.naturalWidth);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    callbacks.onDetailError(error);
  }
}

/** Animate the split from the left edge to its default. */
function reveal() {
  const current = ++revealCount;
  if (reducedMotion.matches || document.hidden) {
    setSplit(DEFAULT_SPLIT);
    return;
  }
  const start = performance.now();
  const step = (now) => {
    if (current !== revealCount) return;
    const progress = Math.min(1, Math.max(0, (now - start) / REVEAL_DURATION));
    setSplit(DEFAULT_SPLIT * (1 - (1 - progress) ** 3));
    if (progress < 1) requestAnimationFrame(step);
  };
  setSplit(0);
  requestAnimationFrame(step);
}
