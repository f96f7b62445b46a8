// The dots of hints over the picture, and what the user does with them.

import { colorName, toHex } from "./colors.js";
import { resultSize, toPhoto, toResult } from "./geometry.js";
import { sameLook, settledLook } from "./looks.js";
import { closePalette, openPalette } from "./palette.js";
import { t } from "./texts.js";
import { showInColor } from "./viewer.js";
import { DOUBLE_TAP, places, showPlace } from "./zoom.js";

const KEY_STEP = 4; // px of the page, of an arrow key
const LARGE_STEP = 32; // with Shift
const DRAG_DISTANCE = 5; // px from where a dot is pressed to where it follows
const HANDLE = 40; // px between the middle of the divider's handle and a dot beside it
const TIP_TIME = 12_000; // ms
const USED = "photochrom.hints"; // key of localStorage: whether a hint was ever added
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PLACES = [
  ["upper_left", "top", "upper_right"],
  ["left", "middle", "right"],
  ["lower_left", "bottom", "lower_right"],
];

const $ = (id) => document.getElementById(id);

const dots = []; // the buttons, in the order of the hints

let photo = null; // whose hints are shown; null: none are
let hints = []; // of the photo, with the one that is edited; one for each dot
let edit = null; // the hint that is added or changed; see `begin`
let drag = null; // what a pointer moves
let press = {}; // the latest press of a pointer, anywhere
let isHidden = false; // whether the user has hidden all dots
let openTimer = 0; // until a tap is no longer the first of a double one
let tipTimer = 0;
let callbacks;

/** Call back: onChange(photo, changes of its look, options), announce(message). */
export function startHints(newCallbacks) {
  callbacks = newCallbacks;
  const container = $("hints");
  container.addEventListener("click", onClick);
  container.addEventListener("pointerdown", startDrag);
  container.addEventListener("pointermove", onDrag);
  container.addEventListener("pointerup", () => endDrag());
  container.addEventListener("pointercancel", () => endDrag({ isCancelled: true }));
  container.addEventListener("keydown", onDotKey);
  container.addEventListener("keyup", ({ key }) => key in ARROWS && settleKeys());
  container.addEventListener("focusout", settleKeys);
  container.addEventListener("focusin", ({ target }) => {
    if (target.classList.contains("outside")) showPlace(placeOf(hints[dots.indexOf(target)]));
  });
  $("hide-hints").addEventListener("click", toggleHidden);
  document.addEventListener("keydown", onKeyDown);
  // Before the palette, which closes if it is pressed elsewhere.
  window.addEventListener("pointerdown", onPress, { capture: true });
  for (const type of ["pointerup", "pointercancel"]) {
    window.addEventListener(type, () => (press.isDown = false), { capture: true });
  }
}

/**
 * Show the hints of a photo.
 *
 * @param {object | null} newPhoto Null: no photo whose hints can be changed now.
 * @param {boolean} isOffered Whether the photo's model takes hints.
 */
export function drawHints(newPhoto, isOffered) {
  if (edit && !(newPhoto === edit.photo && isUnchanged(edit))) dropHint();
  photo = newPhoto;
  $("add-hint").hidden = $("hide-hints").hidden = !isOffered;
  draw();
  $("stage").classList.toggle("takes-hints", Boolean(photo));
  if (photo) showTip();
  else if (!isOffered) setTip("");
}

/** Tell whether only this module has changed the hints since they are edited. */
const isUnchanged = ({ photo, base }) => sameLook({ hints: base }, settledLook(photo), ["hints"]);

function draw() {
  hints = photo?.look.hints ?? [];
  if (edit) hints = edit.base.toSpliced(edit.index, 1, edit.hint);
  const removed = dots.splice(hints.length);
  const lostFocus = removed.find((dot) => dot === document.activeElement);
  for (const dot of removed) dot.remove();
  while (dots.length < hints.length) dots.push($("hints").appendChild(createDot()));
  const inside = hints.filter(isInside);
  for (const [index, hint] of hints.entries()) {
    const { color } = hint;
    const dot = dots[index];
    dot.hidden = !inside.includes(hint);
    if (!dot.hidden) dot.ariaLabel = labelOf(hint, inside.indexOf(hint) + 1, inside.length);
    const shown = index === edit?.index ? (edit.preview ?? color) : color;
    dot.dataset.kind = { null: "new", original: "original" }[shown] ?? "color";
    dot.style.setProperty("--color", ["original", null].includes(shown) ? "" : cssColor(shown));
    dot.ariaExpanded = String(index === edit?.index && edit.isOpen);
    dot.classList.toggle("tapped", index === edit?.index && edit.isTapped);
  }
  placeHints();
  $("hints").hidden = isHidden;
  $("add-hint").ariaDisabled = String(!photo);
  $("hide-hints").ariaDisabled = String(!photo?.look.hints.length);
  $("hide-hints").setAttribute("aria-pressed", String(isHidden));
  if (!lostFocus) return;
  const next = lostFocus.dataset.kind === "new" ? null : dots.at(-1);
  (next ?? $("add-hint")).focus({ preventScroll: true });
}

const cssColor = (color) => toHex(color === "neutral" ? "grey" : color);

function createDot() {
  const dot = document.createElement("button");
  Object.assign(dot, { type: "button", className: "hint", ariaHasPopup: "dialog" });
  return dot;
}

/** Place the dots where their hints are in the picture as it is enlarged. */
export function placeHints() {
  const { picture, visible } = places();
  for (const [index, hint] of hints.entries()) {
    const dot = dots[index];
    const { left, top } = placeOf(hint, picture);
    const x = clamp(left, visible.left, visible.left + visible.width);
    const y = clamp(top, visible.top, visible.top + visible.height);
    // It can be reached by the Tab key, which then moves the picture.
    dot.classList.toggle("outside", Math.hypot(x - left, y - top) > 1);
    dot.style.left = `${x}px`;
    dot.style.top = `${y}px`;
  }
}

const clamp = (value, least, most) => Math.max(least, Math.min(most, value));

function labelOf(hint, number, total) {
  const [column, row] = partsOf(hint).map((part) => Math.floor(3 * part));
  const place = t(`hints.place.${PLACES[row][column]}`);
  if (!hint.color) return t("hints.new", { place });
  return t("hints.label", { number, total, color: colorName(hint.color), place });
}

const sizeOf = ({ state: { width, height } }) => [width, height];

/** Return the place of a hint in the result, as parts of its width and height. */
function partsOf({ x, y }) {
  const size = sizeOf(photo);
  const [a, b] = toResult(photo.look, ...size, x + 0.5, y + 0.5);
  const [width, height] = resultSize(photo.look, ...size);
  return [a / width, b / height];
}

/** Tell whether a hint is in the result, and not cut off. */
const isInside = (hint) => partsOf(hint).every((part) => part >= 0 && part < 1);

/** Return the place of a hint in px from the stage's top left corner. */
function placeOf(hint, picture = places().picture) {
  const [x, y] = partsOf(hint);
  return { left: picture.left + x * picture.width, top: picture.top + y * picture.height };
}

/** Return the px of the photo at a place in the stage; where none is, the nearest. */
function pixelAt({ left, top }) {
  const { picture } = places();
  const size = sizeOf(photo);
  const [width, height] = resultSize(photo.look, ...size);
  const x = clamp((left - picture.left) / picture.width, 0, 1) * width;
  const y = clamp((top - picture.top) / picture.height, 0, 1) * height;
  // Not on the edge, where the next pixel begins.
  const place = toPhoto(photo.look, ...size, clamp(x, 0.5, width - 0.5), clamp(y, 0.5, height - 0.5));
  return place.map((value, axis) => clamp(Math.floor(value), 0, size[axis] - 1));
}

function stagePlace({ clientX, clientY }) {
  const { left, top } = $("stage").getBoundingClientRect();
  return { left: clientX - left, top: clientY - top };
}

const isIn = ({ left, top }, area) =>
  left >= area.left && left < area.left + area.width &&
  top >= area.top && top < area.top + area.height;

/** Add a hint where the picture is clicked or tapped, unless it was a double tap. */
export function onTap(event, isSecond) {
  // Who has chosen a colour by mouse goes on to the next place; else a tap closes the palette.
  const isNext = press.hasChosen && event.pointerType === "mouse";
  if (!photo || isSecond || (press.openDot && !isNext)) {
    dropHint();
    return;
  }
  const place = stagePlace(event);
  if (!isIn(place, places().visible)) return;
  add(pixelAt(place));
  edit.isTapped = true;
  draw();
  openTimer = setTimeout(open, DOUBLE_TAP);
}

/** Add a hint in the middle of the visible part, to be moved by keys or by a pointer. */
export function addHint() {
  const { left, top, width, height } = places().visible;
  const x = left + width / 2;
  const divider = parseFloat($("stage").style.getPropertyValue("--divider"));
  const isFree = Math.abs(x - divider) > HANDLE;
  add(pixelAt({ left: x, top: top + height / (isFree ? 2 : 3) }));
  dots[edit.index].focus({ preventScroll: true });
  callbacks.announce(t("hints.new_help"));
  setTip(t("hints.move_tip"));
}

/** Show a dot without a colour, which is not part of the look. */
function add([x, y]) {
  dropHint();
  isHidden = false;
  localStorage.setItem(USED, "true");
  setTip("");
  begin(photo.look.hints.length, { x, y, color: null });
  draw();
}

/**
 * Begin to change a hint.
 *
 * @param {number} index In the list of hints; their number for a new one.
 */
function begin(index, hint = photo.look.hints[index]) {
  if (edit?.index === index && !edit.isOpen) return;
  dropHint();
  const base = settledLook(photo).hints;
  edit = { photo, index, hint, base, preview: null, hasChosen: false };
  // Whether the palette is open, keys move it, the look shows it, and a tap may become a double one.
  Object.assign(edit, { isOpen: false, byKeys: false, isShown: false, isTapped: false });
}

/** End a change of a hint that is not complete: one without a colour is removed. */
export function dropHint() {
  if (!edit) return;
  clearTimeout(openTimer);
  if (edit.isOpen) closePalette();
  if (edit?.isShown && edit.photo.changing) showBase();
  edit = null;
  setTip("");
  draw();
}

/** Show the hints as they were. */
function showBase() {
  edit.isShown = false;
  callbacks.onChange(edit.photo, { hints: edit.base });
}

/** Open the palette for the hint that is edited. */
function open() {
  const current = edit;
  const { index, hint } = current;
  Object.assign(current, { isOpen: true, byKeys: false, isTapped: false });
  setTip("");
  showInColor(placeOf(hint).left);
  draw();
  openPalette({
    photo,
    look: settledLook(photo),
    hint,
    number: hints.slice(0, index + 1).filter(isInside).length,
    anchor: dots[index],
    onPreview(color) {
      if (edit !== current) return;
      current.preview = color;
      draw();
      if (color) show({ ...current.hint, color });
      else showBase();
    },
    onChoose(color) {
      if (edit !== current) return;
      current.preview = null;
      current.hasChosen = true;
      settle({ ...current.hint, color: color.toLowerCase() });
    },
    onDelete: () => remove(index),
    onClose() {
      if (edit !== current) return;
      current.isOpen = false;
      const isPressed = press.isDown && press.dot === dots[index];
      if (current.hint.color || !isPressed) edit = null;
      draw();
    },
  });
}

/** Let the picture show a change of the hint that is edited. */
function show(hint) {
  edit.isShown = true;
  const changed = edit.base.toSpliced(edit.index, 1, hint);
  callbacks.onChange(edit.photo, { hints: changed }, { settled: false });
}

/** Complete the change of a hint. */
function settle(hint) {
  const { base, index } = edit;
  Object.assign(edit, { hint, base: base.toSpliced(index, 1, hint), isShown: false });
  callbacks.onChange(edit.photo, { hints: edit.base });
  draw();
  callbacks.announce(`${dots[index].ariaLabel}.`);
}

function remove(index) {
  dropHint();
  const hadFocus = dots[index] === document.activeElement;
  callbacks.onChange(photo, { hints: photo.look.hints.toSpliced(index, 1) });
  callbacks.announce(t("hints.deleted"));
  draw();
  if (hadFocus) (dots[index] ?? dots.at(-1) ?? $("add-hint")).focus({ preventScroll: true });
}

function onPress(event) {
  const dot = event.target.closest?.(".hint") ?? null;
  press = { dot, openDot: edit?.isOpen ? dots[edit.index] : null, isDown: true };
  press.hasChosen = edit?.hasChosen ?? false;
  if (edit && !edit.isOpen && !event.target.closest?.("#viewer")) dropHint();
}

/** Open the palette of a dot, unless it was dragged, or was open already. */
function onClick(event) {
  const dot = event.target.closest(".hint");
  const isByPointer = event.detail > 0;
  if (!dot || (isByPointer && (drag?.hasMoved || press.openDot === dot))) return;
  begin(dots.indexOf(dot));
  open();
}

function startDrag(event) {
  const dot = event.target.closest(".hint");
  if (!dot || event.button !== 0) return;
  dot.setPointerCapture(event.pointerId);
  const { left, top } = stagePlace(event);
  const [x, y] = [parseFloat(dot.style.left), parseFloat(dot.style.top)];
  drag = { index: dots.indexOf(dot), dot, left, top, dx: x - left, dy: y - top };
  Object.assign(drag, { isDown: true, hasMoved: false });
}

function onDrag(event) {
  if (!drag?.dot.hasPointerCapture(event.pointerId)) return;
  const { left, top } = stagePlace(event);
  if (!drag.hasMoved) {
    if (Math.hypot(left - drag.left, top - drag.top) < DRAG_DISTANCE) return;
    drag.hasMoved = true;
    if (edit?.isOpen) closePalette();
    begin(drag.index);
    drag.edit = edit;
  }
  if (edit !== drag.edit) return; // it was undone meanwhile
  const { visible } = places();
  move({
    left: clamp(left + drag.dx, visible.left, visible.left + visible.width),
    top: clamp(top + drag.dy, visible.top, visible.top + visible.height),
  });
}

function endDrag({ isCancelled = false } = {}) {
  if (!drag?.isDown) return; // it is another button of the mouse
  drag.isDown = false;
  if (!drag.hasMoved || edit !== drag.edit) return;
  const { hint } = edit;
  if (!hint.color) {
    open();
    return;
  }
  if (!isCancelled) settle(hint);
  dropHint();
}

/** Move the hint that is edited to a place in the stage. */
function move(place) {
  const [x, y] = pixelAt(place);
  edit.hint = { ...edit.hint, x, y };
  draw();
  if (edit.hint.color) show(edit.hint);
}

function onDotKey(event) {
  const { key, target, shiftKey } = event;
  const index = dots.indexOf(target);
  if (event.ctrlKey || event.metaKey || event.altKey || index < 0) return;
  if (key in ARROWS) {
    begin(index);
    edit.byKeys = true;
    moveByKeys(ARROWS[key], shiftKey ? LARGE_STEP : KEY_STEP);
  } else if (key === "Delete" || key === "Backspace") {
    if (hints[index].color === null) dropHint();
    else remove(index);
  } else return;
  event.preventDefault();
}

/** Move the hint that is edited by px of the page, and by at least one of the photo. */
function moveByKeys([x, y], step) {
  const { picture } = places();
  const pixel = picture.width / resultSize(photo.look, ...sizeOf(photo))[0];
  const { left, top } = placeOf(edit.hint);
  const distance = Math.max(step, 1.01 * pixel);
  move({ left: left + x * distance, top: top + y * distance });
  showPlace(placeOf(edit.hint));
}

/** Complete a movement by keys. */
function settleKeys() {
  if (!edit?.byKeys || !edit.hint.color) return;
  settle(edit.hint);
  dropHint();
}

function onKeyDown(event) {
  const { key, target } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest("dialog") || $("editor").hidden) return;
  if (key === "Escape" && edit && !edit.isOpen) {
    event.preventDefault();
    dropHint();
    return;
  }
  if (key.toLowerCase() !== "h" || $("hide-hints").hidden) return;
  if (target.closest("input:not([type=range]), select, textarea")) return;
  event.preventDefault();
  toggleHidden();
}

function toggleHidden() {
  if ($("hide-hints").ariaDisabled === "true") return;
  dropHint();
  isHidden = !isHidden;
  draw();
  callbacks.announce(t(isHidden ? "hints.hidden" : "hints.shown"));
}

/** Show for a while what can be done, until it was done once. */
function showTip() {
  if (tipTimer || localStorage.getItem(USED)) return;
  const isTouch = matchMedia("(pointer: coarse)").matches;
  setTip(t(isTouch ? "hints.tip_touch" : "hints.tip"));
  tipTimer = setTimeout(() => $("hint-tip").dataset.isFirst && setTip(""), TIP_TIME);
  $("hint-tip").dataset.isFirst = "true";
}

function setTip(text) {
  const tip = $("hint-tip");
  delete tip.dataset.isFirst;
  tip.textContent = text;
  tip.hidden = !text;
}
