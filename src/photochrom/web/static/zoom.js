// Zoom and pan of the picture: gestures, wheel, keys and buttons; full screen.

import { showNotice } from "./notices.js";
import { formatPercent, t } from "./texts.js";

const STEP = 1.5; // of a key or a button
const PAN_STEP = 0.15; // of the stage's size, of an arrow key
const MAX_SCALE = 4; // screen px for one px of the photo
const MIN_RANGE = 4; // times the size that fits, at least possible for small photos
const REST = 200; // ms without a movement
const TAP_DISTANCE = 12; // px between the begin and the end of a tap, at most
export const DOUBLE_TAP = 350; // ms between two taps, at most
const DOUBLE_TAP_DISTANCE = 40; // px
const EDGE = 48; // px between a place that is shown and the edge of the visible part, at least

const $ = (id) => document.getElementById(id);

let zoom = 1; // times the size at which the whole picture fits
let pan = { x: 0, y: 0 }; // from the centre of the stage to that of the picture, in px
let photoWidth = null; // in px of the photo
let callbacks;
let restTimer = null;
const pointers = new Map(); // from ID to the latest place of a finger or a pressed mouse
let tapStart = null; // the place and time of a press that may be a tap
let lastTap = null;

/**
 * Start the gestures.
 *
 * @param {{onMove: () => void, onRest: () => void, onTap: () => void}} newCallbacks
 *   onMove: at once after zoom, pan or size have changed. onRest: when they stay. onTap(event,
 *   isSecond): after a click or a tap, and whether it is the second of a double one, which zooms.
 */
export function startZoom(newCallbacks) {
  callbacks = newCallbacks;
  const stage = $("stage");
  stage.addEventListener("pointerdown", onPointerDown);
  stage.addEventListener("pointermove", onPointerMove);
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
    stage.addEventListener(type, onPointerUp);
  }
  stage.addEventListener("wheel", onWheel, { passive: false });
  // Two fingers do not scroll the page.
  const stop = (event) => {
    if (event.touches.length > 1 && event.cancelable) event.preventDefault();
  };
  stage.addEventListener("touchmove", stop, { passive: false });
  startGestureEvents(stage);
  document.addEventListener("keydown", onKeyDown);
  $("zoom-in").addEventListener("click", () => zoomBy(STEP));
  $("zoom-out").addEventListener("click", () => zoomBy(1 / STEP));
  $("zoom-fit").addEventListener("click", fit);
  const observer = new ResizeObserver(draw);
  observer.observe(stage);
  observer.observe($("frame"));
  startFullScreen();
}

/** Show the whole picture. */
export function fit() {
  zoom = 1;
  pan = { x: 0, y: 0 };
  draw();
}

/** Set the width of the photo in px, or null if it is unknown. */
export function setPhotoWidth(width) {
  photoWidth = width;
  draw();
}

/** Return the px of the screen for each px of the photo. */
function scale() {
  return (devicePixelRatio * zoom * sizeOf($("frame")).width) / photoWidth;
}

/** Return the size of an element in px, exactly and before it is enlarged; 0 if it is hidden. */
function sizeOf(element) {
  const { width, height } = getComputedStyle(element);
  return { width: parseFloat(width) || 0, height: parseFloat(height) || 0 };
}

/**
 * Return the picture and its visible part, in px from the stage's top left corner.
 *
 * Each has `left`, `top`, `width` and `height`.
 */
export function places() {
  const [stage, frame] = [sizeOf($("stage")), sizeOf($("frame"))];
  const [width, height] = [zoom * frame.width, zoom * frame.height];
  const left = wholePixels((stage.width - width) / 2 + pan.x);
  const top = wholePixels((stage.height - height) / 2 + pan.y);
  const visible = { left: Math.max(0, left), top: Math.max(0, top) };
  visible.width = Math.min(stage.width, left + width) - visible.left;
  visible.height = Math.min(stage.height, top + height) - visible.top;
  return { picture: { left, top, width, height }, visible };
}

/** Round px of the page to those of the screen, so that a photo at 100 % is not interpolated. */
const wholePixels = (value) =>
  zoom > 1 ? Math.round(value * devicePixelRatio) / devicePixelRatio : value;

function maxZoom() {
  return Math.max(MIN_RANGE, photoWidth ? (MAX_SCALE * zoom) / scale() : 0);
}

function draw() {
  const { style } = $("frame");
  const [stage, frame] = [sizeOf($("stage")), sizeOf($("frame"))];
  const isShown = Boolean(frame.width);
  if (isShown) zoom = Math.min(maxZoom(), Math.max(1, zoom));
  pan.x = clamp(pan.x, (zoom * frame.width - stage.width) / 2);
  pan.y = clamp(pan.y, (zoom * frame.height - stage.height) / 2);
  const { left, top, width, height } = places().picture;
  const [x, y] = [left + (width - stage.width) / 2, top + (height - stage.height) / 2];
  style.transform = zoom > 1 ? `translate(${x}px, ${y}px) scale(${zoom})` : "";
  $("stage").classList.toggle("zoomed", zoom > 1);
  $("viewer-tools").hidden = !isShown;
  // Not disabled, as a button would lose the focus.
  for (const id of ["zoom-out", "zoom-fit"]) $(id).ariaDisabled = String(zoom <= 1);
  $("zoom-in").ariaDisabled = String(isShown && zoom >= maxZoom() - 1e-6);
  const percent = isShown && photoWidth ? Math.round(100 * scale()) : null;
  $("zoom-level").textContent = percent ? formatPercent(percent / 100) : "";
  callbacks.onMove();
  clearTimeout(restTimer);
  restTimer = setTimeout(callbacks.onRest, REST);
}

const clamp = (value, limit) => Math.min(Math.max(0, limit), Math.max(-Math.max(0, limit), value));

/** Zoom by a factor so that the point of the picture at `point` stays; default: the centre. */
function zoomBy(factor, point = { x: 0, y: 0 }) {
  const old = zoom;
  zoom = Math.min(maxZoom(), Math.max(1, zoom * factor));
  moveTo(point.x - ((point.x - pan.x) * zoom) / old, point.y - ((point.y - pan.y) * zoom) / old);
}

/** Move an enlarged picture so that a place is seen, given in px from the stage's top left corner. */
export function showPlace({ left, top }) {
  const { width, height } = sizeOf($("stage"));
  const distanceTo = (at, size) => Math.max(0, EDGE - at) + Math.min(0, size - EDGE - at);
  moveTo(pan.x + distanceTo(left, width), pan.y + distanceTo(top, height));
}

function moveTo(x, y) {
  pan = { x, y };
  draw();
}

/** Show one px of the photo as one of the screen, or the whole picture if it is enlarged. */
function toggle(point) {
  if (zoom > 1) fit();
  else zoomBy(Math.max(photoWidth ? 1 / scale() : 1, 2), point);
}

/** Return the place of an event from the stage's centre. */
function placeOf({ clientX, clientY }) {
  const { left, top, width, height } = $("stage").getBoundingClientRect();
  return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
}

function onPointerDown(event) {
  if (event.button !== 0 || event.target.closest("#handle, button")) return;
  if (event.pointerType === "mouse") event.currentTarget.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, placeOf(event));
  tapStart = pointers.size === 1 ? { ...placeOf(event), time: event.timeStamp } : null;
}

function onPointerMove(event) {
  const old = pointers.get(event.pointerId);
  if (!old) return;
  const place = placeOf(event);
  if (pointers.size === 1 && zoom > 1) {
    moveTo(pan.x + place.x - old.x, pan.y + place.y - old.y);
  } else if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    pan.x += (place.x - old.x) / 2;
    pan.y += (place.y - old.y) / 2;
    const middle = { x: (place.x + other.x) / 2, y: (place.y + other.y) / 2 };
    zoomBy(distance(place, other) / Math.max(1, distance(old, other)), middle);
  }
  pointers.set(event.pointerId, place);
}

function onPointerUp(event) {
  if (!pointers.delete(event.pointerId) || event.type !== "pointerup" || !tapStart) return;
  const place = { ...placeOf(event), time: event.timeStamp };
  const isTap = distance(place, tapStart) < TAP_DISTANCE && place.time - tapStart.time < DOUBLE_TAP;
  tapStart = null;
  if (!isTap) return;
  const isSecond =
    lastTap &&
    place.time - lastTap.time < DOUBLE_TAP &&
    distance(place, lastTap) < DOUBLE_TAP_DISTANCE;
  lastTap = isSecond ? null : place;
  if (isSecond) toggle(place);
  callbacks.onTap(event, Boolean(isSecond));
}

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/** Zoom by the wheel with Ctrl, which also is a trackpad's pinch; without if no page scrolls. */
function onWheel(event) {
  const { scrollHeight, clientHeight } = document.documentElement;
  if (!event.ctrlKey && !document.fullscreenElement && scrollHeight > clientHeight) return;
  event.preventDefault();
  const unit = [1, 16, $("stage").clientHeight][event.deltaMode]; // px
  const power = -0.002 * event.deltaY * unit * (event.ctrlKey ? 10 : 1); // a pinch has small steps
  zoomBy(2 ** Math.min(0.5, Math.max(-0.5, power)), placeOf(event));
}

/** Zoom by a trackpad's pinch in Safari on a Mac. */
function startGestureEvents(stage) {
  let latest = 1;
  stage.addEventListener("gesturestart", (event) => {
    event.preventDefault();
    latest = 1;
  });
  stage.addEventListener("gesturechange", (event) => {
    event.preventDefault();
    if (!pointers.size) zoomBy(event.scale / latest, placeOf(event)); // else by the pointers
    latest = event.scale;
  });
}

function onKeyDown(event) {
  const { key, target } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if ($("viewer-tools").hidden || $("editor").hidden) return;
  const isSlider = target.matches("input[type=range]");
  if (target.closest("dialog, input, select, textarea") && !isSlider) return;
  const actions = {
    "+": () => zoomBy(STEP),
    "=": () => zoomBy(STEP),
    "-": () => zoomBy(1 / STEP),
    0: fit,
  };
  if (document.fullscreenEnabled) actions.f = toggleFullScreen;
  if (zoom > 1 && !isSlider && !target.closest("[role=listbox], [role=radiogroup]")) {
    const { width, height } = sizeOf($("stage"));
    const move = (x, y) => () =>
      moveTo(pan.x + x * PAN_STEP * width, pan.y + y * PAN_STEP * height);
    actions.ArrowLeft = move(1, 0);
    actions.ArrowRight = move(-1, 0);
    actions.ArrowUp = move(0, 1);
    actions.ArrowDown = move(0, -1);
  }
  if (!Object.hasOwn(actions, key)) return;
  event.preventDefault();
  actions[key]();
}

function startFullScreen() {
  const button = $("full-screen");
  button.hidden = !document.fullscreenEnabled; // as on an iPhone
  button.addEventListener("click", toggleFullScreen);
  document.addEventListener("fullscreenchange", () => {
    button.setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
  });
}

async function toggleFullScreen() {
  if (document.fullscreenElement) {
    document.exitFullscreen();
    return;
  }
  try {
    await document.documentElement.requestFullscreen(); // notices are outside of the viewer
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    showNotice(t("viewer.full_screen_denied"));
  }
}
