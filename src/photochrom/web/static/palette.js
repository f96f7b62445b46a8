// The palette: choosing a colour for a hint.

import { RequestError, request } from "./api.js";
import { atLightness, colorName, inBrightLight, lightnessOf, toHex, toVivid } from "./colors.js";
import { takeColor } from "./eyedropper.js";
import { PICTURE_KEYS, lookQuery, readItem, storeItem } from "./looks.js";
import { t } from "./texts.js";
import { places } from "./zoom.js";

const SUGGESTIONS = 6;
const MAX_RECENT = 8; // colours
const RECENT = "photochrom.colors"; // key of sessionStorage
const PREVIEW_DELAY = 40; // ms; a pointer that crosses colours sends no request for each
const SHEET_WIDTH = 600; // px of the window; below it the palette is a sheet at its bottom
const GAP = 12; // px between the dot and the palette, at least
const MAX_DISTANCE = 120; // px more, as far as the palette then covers less of the picture
const OTHER_LIGHTNESS = 20; // L* between a colour and the photo that make it another colour
const MARGIN = 8; // px between the window's edges and the palette
const TAP_DISTANCE = 12; // px between the begin and the end of a tap, at most
const KEYS = new Set([
  ...["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "Delete", "Backspace"],
]); // which otherwise act on the photo

const $ = (id) => document.getElementById(id);
const palette = $("palette");

let current = null; // the arguments of openPalette, and what follows; null: the palette is closed

/**
 * Open the palette for a hint.
 *
 * The palette closes when the user presses Escape, clicks or moves the focus elsewhere, or when
 * `anchor` is hidden or removed. It then returns the focus to `anchor`, if it had it.
 *
 * @param {object} photo Which is ready.
 * @param {object} look Of the photo. The suggestions are those for this look without the hint.
 * @param {{x: number, y: number, color: string | null}} hint In px of the whole upright photo.
 * @param {number} number Of the hint among those that are shown, from 1.
 * @param {HTMLElement} anchor The dot, which has to stay the same element.
 * @param {(color: string | null) => void} onPreview Gets the colour that the user points at; null:
 *   none.
 * @param {(color: string) => void} onChoose Gets the chosen colour; the palette stays open.
 * @param {() => void} onDelete Called after the palette is closed, and the focus is at `anchor`.
 * @param {() => void} onClose Called once whenever the palette closes, before onDelete.
 */
export function openPalette(options) {
  closePalette();
  current = {
    ...options,
    color: options.hint.color,
    lightness: null, // L* of the photo there, once it is known
    side: null, // of the anchor where the palette is
    height: null, // of the palette when it was opened, in px
    sheetHeight: null, // of the palette as a sheet, in px
    previewed: null, // the latest colour of onPreview
    timer: 0, // of the next preview
    picked: null, // the colour in the browser's picker while that is open
    picking: null, // ends the eyedropper
    closing: new AbortController(),
  };
  const { photo, number } = current;
  $("palette-title").textContent = t("palette.title", { number });
  $("palette-original").hidden = !photo.state.notes.includes("in_color");
  palette.hidden = false;
  drawSkeleton();
  drawRecent();
  draw();
  $("palette-picker").value = toVivid(isSpecial(current.color) ? "grey" : current.color);
  follow(current);
  palette.focus({ preventScroll: true });
  loadSuggestions(current);
}

/** Close the palette, if it is open. */
export function closePalette() {
  if (!current) return;
  const { anchor, closing, picked, onClose } = current;
  const hadFocus = palette.contains(document.activeElement);
  if (picked) choose(picked);
  preview(null);
  current = null;
  closing.abort();
  palette.hidden = true;
  palette.classList.remove("sheet", "picking");
  if (hadFocus) anchor.focus({ preventScroll: true });
  onClose();
}

const isSpecial = (color) => [null, "original", "neutral"].includes(color);

async function loadSuggestions(owner) {
  const { photo, look, hint, closing } = owner;
  const hints = look.hints.filter(({ x, y }) => x !== hint.x || y !== hint.y);
  const query = `${lookQuery({ ...look, hints }, PICTURE_KEYS)}&x=${hint.x}&y=${hint.y}`;
  const { signal } = closing;
  try {
    const { colors } = await request(`photos/${photo.id}/suggestions?${query}`, { signal });
    signal.throwIfAborted();
    owner.lightness = lightnessOf(colors[0].color);
    if (isSpecial(owner.color)) $("palette-picker").value = toVivid(colors[0].color);
    const swatches = colors.map(({ color, kind }) =>
      createSwatch(color, t("palette.swatch", { kind: t(`palette.kind.${kind}`), color: colorName(color) })),
    );
    $("palette-suggestions").replaceChildren(...swatches);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof RequestError)) throw error;
    $("palette-suggestions").replaceChildren();
    $("palette-failed").hidden = false;
  }
  $("palette-suggestions").ariaBusy = "false";
  draw();
}

function drawSkeleton() {
  $("palette-failed").hidden = true;
  $("palette-suggestions").ariaBusy = "true";
  const createPlaceholder = () => {
    const element = document.createElement("span");
    element.className = "swatch";
    return element;
  };
  $("palette-suggestions").replaceChildren(...Array.from({ length: SUGGESTIONS }, createPlaceholder));
}

function drawRecent() {
  const colors = readItem(RECENT) ?? [];
  $("palette-recent").hidden = !colors.length;
  const swatches = colors.map((color) => createSwatch(color, colorName(color)));
  $("palette-recent-list").replaceChildren(...swatches);
}

function createSwatch(color, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "swatch";
  button.dataset.color = color;
  button.title = button.ariaLabel = name;
  return button;
}

/** Draw what depends on the colour of the hint, and on the photo's L* there. */
function draw() {
  const { color, lightness } = current;
  // As it looks there: the photo keeps its L*.
  const shown = (value) => (lightness === null ? toHex(value) : atLightness(value, lightness));
  const buttons = swatches();
  for (const button of buttons) {
    const value = button.dataset.color;
    button.ariaPressed = String(color !== null && normalize(value) === normalize(color));
    button.tabIndex = -1;
    if (value !== "original") {
      const there = shown(value === "neutral" ? "grey" : value);
      button.style.setProperty("--color", there);
      button.style.setProperty("--bright", inBrightLight(there));
    }
  }
  const focused = buttons.find((button) => button === document.activeElement);
  const chosen = buttons.find(({ ariaPressed }) => ariaPressed === "true");
  const reached = focused ?? chosen ?? buttons[0]; // by the Tab key; none while a colour is taken
  if (reached) reached.tabIndex = 0;
  $("palette-delete").hidden = color === null;
  drawHelp();
  drawName();
}

/** Say how the chosen colour looks in the photo, if that is much darker or lighter. */
function drawHelp() {
  const { color, lightness } = current;
  let text = t("palette.help");
  if (!isSpecial(color) && Math.abs(lightnessOf(color) - (lightness ?? NaN)) > OTHER_LIGHTNESS) {
    const there = colorName(atLightness(color, lightness));
    if (there !== colorName(color)) text = t("palette.help_looks", { color: there });
  }
  if ($("palette-help").textContent !== text) $("palette-help").textContent = text;
}

const normalize = (color) => (isSpecial(color) ? color : toHex(color));

/** Show the name of the colour under the pointer, or with the focus, or of the hint. */
function drawName(button = null) {
  const { color } = current;
  $("palette-name").textContent = button?.title || (color === null ? "" : colorName(color));
}

const swatches = () =>
  [...palette.querySelectorAll("[data-color]")].filter((button) => button.offsetParent);

/** Let the picture show a colour, or that of the hint again (null). */
function preview(color) {
  clearTimeout(current.timer);
  if (color === current.previewed) return;
  current.previewed = color;
  current.onPreview(color);
}

function schedulePreview(button) {
  clearTimeout(current.timer);
  const owner = current;
  current.timer = setTimeout(() => owner === current && preview(button?.dataset.color ?? null), PREVIEW_DELAY);
  drawName(button);
}

/** Give the hint a colour. */
function choose(color) {
  clearTimeout(current.timer);
  Object.assign(current, { color, previewed: null, picked: null });
  if (!isSpecial(color)) {
    const others = (readItem(RECENT) ?? []).filter((other) => other !== toHex(color));
    storeItem(RECENT, [toHex(color), ...others].slice(0, MAX_RECENT));
  }
  current.onChoose(color);
  draw();
}

/** Let the user take a colour from a picture. */
async function pick(event) {
  const owner = current;
  const { left, top, width, height } = owner.anchor.getBoundingClientRect();
  preview(null);
  owner.picking = new AbortController();
  owner.closing.signal.addEventListener("abort", () => owner.picking.abort());
  palette.classList.add("picking");
  place(); // not in the next frame only, until when it would cover the picture
  $("palette-sample").focus({ preventScroll: true });
  const color = await takeColor({
    start: { x: left + width / 2, y: top + height / 2 },
    byKeys: event.detail === 0, // no pointer was pressed
    signal: owner.picking.signal,
    onMove(sampled) {
      const text = sampled ? colorName(sampled) : "\u00a0";
      if ($("palette-sample-name").textContent !== text) $("palette-sample-name").textContent = text;
    },
  });
  if (owner !== current) return;
  palette.classList.remove("picking");
  if (color) choose(color);
  drawRecent();
  draw();
  $("palette-eyedropper").focus({ preventScroll: true });
}

const isPicking = () => palette.classList.contains("picking");

/** Place the palette in each frame, so that it follows zoom and scrolling. */
function follow(owner) {
  if (owner !== current) return;
  if (!owner.anchor.getClientRects().length) {
    closePalette();
    return;
  }
  place();
  requestAnimationFrame(() => follow(owner));
}

/** Place the palette beside the dot; where there is no room, and on a narrow screen, as a sheet. */
function place() {
  const dot = current.anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = palette;
  current.height ??= height; // so that what is added below moves nothing
  const possible = isPicking() ? [placeOverTools(width, height)] : placesBeside(dot, width, height);
  const isSheet = innerWidth < SHEET_WIDTH || !possible.length;
  palette.classList.toggle("sheet", isSheet);
  if (isSheet) uncover(dot);
  const covered = (rectangle) => overlap({ ...rectangle, width, height }, visiblePicture());
  const best =
    possible.find(({ side }) => side === current.side) ??
    possible.reduce((a, b) => (covered(b) < covered(a) ? b : a), possible[0]);
  current.side = best?.side;
  palette.style.left = isSheet ? "" : `${Math.round(best.left)}px`;
  palette.style.top = isSheet ? "" : `${Math.round(best.top)}px`;
}

/** Return the possible places of the palette: side of the dot, left and top. */
function placesBeside(dot, width, height) {
  const picture = visiblePicture();
  const x = limit(dot.left + (dot.width - width) / 2, width, innerWidth);
  const y = limit(dot.top + (dot.height - current.height) / 2, height, innerHeight);
  const toLeft = distance(dot.left - width - MARGIN, dot.left - picture.left);
  const toRight = distance(innerWidth - MARGIN - width - dot.right, picture.right - dot.right);
  const toTop = distance(dot.top - height - MARGIN, dot.top - picture.top);
  const toBottom = distance(innerHeight - MARGIN - height - dot.bottom, picture.bottom - dot.bottom);
  return [
    { side: "right", left: dot.right + toRight, top: y },
    { side: "left", left: dot.left - toLeft - width, top: y },
    { side: "below", left: x, top: dot.bottom + toBottom },
    { side: "above", left: x, top: dot.top - toTop - height },
  ].filter(({ left, top }) => !isNaN(left) && !isNaN(top));
}

/** Return the distance from the dot to the palette for the room there, or NaN; see the constants. */
const distance = (room, toEdge) =>
  room < GAP ? NaN : GAP + Math.max(0, Math.min(room - GAP, toEdge, MAX_DISTANCE));

/** Return the place over the viewer's buttons, where no colour can be taken. */
function placeOverTools(width, height) {
  const tools = $("viewer-tools").getBoundingClientRect();
  return {
    left: limit(tools.left + (tools.width - width) / 2, width, innerWidth),
    top: limit(tools.top + (tools.height - height) / 2, height, innerHeight),
  };
}

/** Return the nearest coordinate at which a size fits into the window. */
const limit = (value, size, end) => Math.max(MARGIN, Math.min(end - MARGIN - size, value));

/** Return the visible part of the picture, in px of the window. */
function visiblePicture() {
  const { left, top } = $("stage").getBoundingClientRect();
  const { visible } = places();
  return new DOMRect(left + visible.left, top + visible.top, visible.width, visible.height);
}

/** Return the common area of a rectangle and the picture, in px². */
function overlap({ left, top, width, height }, picture) {
  const across = Math.min(left + width, picture.right) - Math.max(left, picture.left);
  const down = Math.min(top + height, picture.bottom) - Math.max(top, picture.top);
  return Math.max(0, across) * Math.max(0, down);
}

/** Scroll the page so that the dot is above the sheet, when that appears or grows. */
function uncover(dot) {
  const height = palette.offsetHeight;
  if (height === current.sheetHeight) return;
  current.sheetHeight = height;
  document.documentElement.style.setProperty("--sheet", `${height}px`);
  scrollBy(0, Math.max(0, dot.bottom + GAP - (innerHeight - height)));
}

function remove() {
  const { onDelete } = current;
  closePalette();
  onDelete();
}

function onKeyDown(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS.has(key)) return;
  event.stopPropagation();
  event.preventDefault();
  if (key === "Delete" || key === "Backspace") remove();
  else if (target === palette) swatches()[0].focus();
  else swatchAfter(target, key)?.focus();
}

/** Return the swatch that a key moves to. */
function swatchAfter(button, key) {
  const all = swatches();
  const index = all.indexOf(button);
  if (index < 0) return null;
  if (key === "Home") return all[0];
  if (key === "End") return all.at(-1);
  if (key === "ArrowLeft") return all.at(index - 1);
  if (key === "ArrowRight") return all[(index + 1) % all.length];
  const { offsetTop, offsetLeft } = button;
  const isDown = key === "ArrowDown";
  const rest = isDown ? all.slice(index) : all.slice(0, index).reverse();
  const row = rest.find((other) => other.offsetTop !== offsetTop)?.offsetTop;
  const distance = (other) => Math.abs(other.offsetLeft - offsetLeft);
  const others = all.filter((other) => other.offsetTop === row);
  return others.sort((a, b) => distance(a) - distance(b))[0];
}

function start() {
  const swatchOf = ({ target }) => target.closest("[data-color]");
  palette.addEventListener("click", (event) => swatchOf(event) && choose(swatchOf(event).dataset.color));
  palette.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "touch") schedulePreview(swatchOf(event));
  });
  palette.addEventListener("pointerleave", () => current && schedulePreview(null));
  palette.addEventListener("focusin", (event) => {
    const swatch = swatchOf(event);
    if (!swatch) return;
    for (const button of swatches()) button.tabIndex = button === swatch ? 0 : -1;
    if (swatch.matches(":focus-visible")) schedulePreview(swatch);
  });
  palette.addEventListener("focusout", ({ relatedTarget }) => {
    if (!current) return;
    schedulePreview(null);
    const isOutside = relatedTarget && !palette.contains(relatedTarget);
    if (isOutside && relatedTarget !== current.anchor) closePalette();
  });
  palette.addEventListener("keydown", onKeyDown);
  const picker = $("palette-picker");
  let before = null; // the colour with which the browser's picker was opened
  picker.addEventListener("click", () => (before = picker.value));
  picker.addEventListener("input", () => {
    if (!current) return;
    current.picked = picker.value;
    drawName();
    preview(picker.value);
  });
  picker.addEventListener("change", () => {
    if (!current?.picked) return; // it was chosen when the palette was closed
    current.picked = null;
    if (picker.value === before) {
      preview(null); // the browser's picker was cancelled
      return;
    }
    choose(picker.value);
    drawRecent();
    draw();
  });
  $("palette-eyedropper").addEventListener("click", pick);
  $("palette-cancel").addEventListener("click", () => current.picking.abort());
  $("palette-delete").addEventListener("click", remove);
  $("palette-close").addEventListener("click", closePalette);
  startOutside();
}

/** Close the palette by Escape, and by a click elsewhere, which may as well open another one. */
function startOutside() {
  let pressed = null; // the place of a press that may be a click
  const isOutside = ({ target }) =>
    current && !isPicking() && !palette.contains(target) && !current.anchor.contains(target);
  document.addEventListener("pointerdown", (event) => {
    pressed = isOutside(event) && event.isPrimary ? event : null;
  }, true);
  document.addEventListener("pointerup", (event) => {
    if (!pressed || !current) return;
    const [x, y] = [event.clientX - pressed.clientX, event.clientY - pressed.clientY];
    pressed = null;
    if (Math.hypot(x, y) < TAP_DISTANCE) closePalette();
  }, true);
  document.addEventListener("keydown", (event) => {
    if (!current || isPicking() || event.key !== "Escape" || event.defaultPrevented) return;
    event.preventDefault();
    event.stopPropagation();
    closePalette();
  }, true);
}

start();
