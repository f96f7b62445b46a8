// The eyedropper: taking a colour from a picture or a thumbnail on the page.

import { photoAt, thumbnailImage } from "./thumbnails.js";

const REACH = 5; // px of the picture on each side of the sampled one, in the magnified sample
const SPREAD = 1; // px on each side of the sampled one whose mean is taken, against grain
const SIDE = 2 * REACH + 1;
const KEY_STEP = 0.01; // of the picture's longer side, of an arrow key; ten times it with Shift
const FINGER = 72; // px from a finger up to the magnified sample
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const $ = (id) => document.getElementById(id);
const canvas = $("loupe").querySelector("canvas");
canvas.width = canvas.height = SIDE;
const context = canvas.getContext("2d", { willReadFrequently: true });

/**
 * Return the #rrggbb that the user takes, or null if the user leaves, or `signal` is aborted.
 *
 * A pointer takes it where it is lifted, in the picture or on a thumbnail. Arrow keys move the
 * point in the picture, Enter takes it, Escape leaves.
 *
 * @param {{x: number, y: number}} start Where keys start, in px of the window.
 * @param {boolean} byKeys Whether the user uses keys, and the sample is shown there at once.
 * @param {(color: string | null) => void} onMove Gets the colour at the point; null: none is there.
 * @param {AbortSignal} signal
 */
export function takeColor({ start, byKeys, onMove, signal }) {
  const { promise, resolve } = withResolvers();
  const listeners = new AbortController();
  let point = start;
  let pressed = false;
  const finish = (color) => {
    listeners.abort();
    $("loupe").hidden = true;
    document.documentElement.classList.remove("picking");
    resolve(color);
  };
  const moveTo = (newPoint, offset = 0) => {
    point = newPoint;
    onMove(showSample(point, offset));
  };
  const on = (type, listener) => {
    document.addEventListener(type, listener, { capture: true, signal: listeners.signal });
  };
  document.documentElement.classList.add("picking");
  on("pointermove", (event) => moveTo(placeOf(event), offsetOf(event)));
  on("pointerdown", (event) => {
    pressed = event.isPrimary && event.button === 0 && Boolean(colorAt(placeOf(event)));
    if (!pressed) return;
    stop(event);
    moveTo(placeOf(event), offsetOf(event));
  });
  on("mousedown", (event) => pressed && stop(event)); // keeps the focus where it is
  on("pointercancel", () => (pressed = false)); // a finger scrolls the thumbnails
  on("pointerup", (event) => {
    if (!pressed) return;
    pressed = false;
    stop(event);
    const color = colorAt(placeOf(event));
    if (!color) return;
    stopNextClick();
    finish(color);
  });
  on("keydown", (event) => {
    const { key, shiftKey, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (Object.hasOwn(ARROWS, key)) {
      const [x, y] = ARROWS[key];
      moveTo(movePoint(point, x, y, KEY_STEP * (shiftKey ? 10 : 1)));
    } else if (key === "Escape") {
      finish(null);
    } else if (key === "Enter" && !target.closest("button")) {
      // It is also repeated while the key is held that has started the eyedropper.
      const color = event.repeat || $("loupe").hidden ? null : colorAt(point);
      if (color) finish(color);
    } else return;
    stop(event);
  });
  signal.addEventListener("abort", () => finish(null), { signal: listeners.signal });
  if (byKeys) moveTo(point);
  else onMove(null);
  return promise;
}

function withResolvers() {
  const result = {};
  result.promise = new Promise((resolve) => (result.resolve = resolve));
  return result;
}

const placeOf = ({ clientX, clientY }) => ({ x: clientX, y: clientY });
const offsetOf = ({ pointerType }) => (pointerType === "touch" ? FINGER : 0);

function stop(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

/** Stop the click that follows a pointer's release, if one does. */
function stopNextClick() {
  const listeners = new AbortController();
  const options = { capture: true, once: true, signal: listeners.signal };
  document.addEventListener("click", stop, options);
  document.addEventListener("pointerdown", () => listeners.abort(), options);
  document.addEventListener("keydown", () => listeners.abort(), options);
}

/** Move a point in the visible part of the picture. */
function movePoint({ x, y }, right, down, fraction) {
  const [frame, stage] = [$("frame"), $("stage")].map((element) => element.getBoundingClientRect());
  const step = fraction * Math.max(frame.width, frame.height);
  const clamp = (value, from, to) => Math.max(from, Math.min(to, value));
  const left = Math.max(frame.left, stage.left, 0);
  const top = Math.max(frame.top, stage.top, 0);
  return {
    x: clamp(x + right * step, left + 1, Math.min(frame.right, stage.right, innerWidth) - 1),
    y: clamp(y + down * step, top + 1, Math.min(frame.bottom, stage.bottom, innerHeight) - 1),
  };
}

/** Show the magnified sample at a point, `offset` px above it; return the colour, or null. */
function showSample(point, offset) {
  const color = colorAt(point);
  const loupe = $("loupe");
  loupe.hidden = !color;
  if (!color) return null;
  loupe.style.left = `${point.x}px`;
  loupe.style.top = `${point.y - offset}px`;
  loupe.style.borderColor = color;
  return color;
}

/** Return the colour at a point of the window as #rrggbb, or null, and draw the sample there. */
function colorAt({ x, y }) {
  const image = imageAt(x, y);
  const place = image && placeIn(image, x, y);
  if (!place) return null;
  context.imageSmoothingEnabled = false;
  context.clearRect(0, 0, SIDE, SIDE);
  context.drawImage(image, place.x - REACH, place.y - REACH, SIDE, SIDE, 0, 0, SIDE, SIDE);
  const first = REACH - SPREAD;
  const { data } = context.getImageData(first, first, 2 * SPREAD + 1, 2 * SPREAD + 1);
  const sum = [0, 0, 0];
  let weight = 0;
  for (let start = 0; start < data.length; start += 4) {
    const alpha = data[start + 3];
    weight += alpha;
    for (let channel = 0; channel < 3; channel++) sum[channel] += alpha * data[start + channel];
  }
  if (!weight) return null; // a transparent part
  const bytes = sum.map((value) => Math.round(value / weight).toString(16).padStart(2, "0"));
  return `#${bytes.join("")}`;
}

/** Return the <img> at a point: of a thumbnail, or of the side of the picture that is shown there. */
function imageAt(x, y) {
  const element = document.elementFromPoint(x, y);
  const thumbnail = element?.closest(".thumbnail");
  if (thumbnail) return thumbnailImage(photoAt(thumbnail));
  if (!element?.closest("#stage")) return null;
  const isAfter = !$("compare").hidden && x < $("divider").getBoundingClientRect().left;
  return $(isAfter ? "after" : "before").querySelector("img");
}

/** Return the px of an <img> at a point of the window, or null. */
function placeIn(image, x, y) {
  const { left, top, width, height } = image.getBoundingClientRect();
  const { naturalWidth, naturalHeight } = image;
  let scales = [width / naturalWidth, height / naturalHeight]; // px of the window for one of these
  const fit = getComputedStyle(image).objectFit;
  if (fit === "cover") scales = scales.fill(Math.max(...scales));
  if (fit === "contain") scales = scales.fill(Math.min(...scales));
  const column = Math.floor(naturalWidth / 2 + (x - left - width / 2) / scales[0]);
  const row = Math.floor(naturalHeight / 2 + (y - top - height / 2) / scales[1]);
  const isInside = column >= 0 && row >= 0 && column < naturalWidth && row < naturalHeight;
  return isInside ? { x: column, y: row } : null;
}
