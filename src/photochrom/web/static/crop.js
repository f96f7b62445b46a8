// The crop tool: crop, straighten and turn a photo. Nothing is sent before "Apply".

import {
  advance,
  isInside,
  largestRectangle,
  roundInwards,
  turnRectangle,
  turnedSize,
} from "./geometry.js";
import { DEFAULT_LOOK, GEOMETRY_KEYS, lookQuery, sameLook } from "./looks.js";
import { picture } from "./pictures.js";
import { formatNumber, t } from "./texts.js";

const MIN_SIDE = 32; // px of the photo, of a crop that is dragged
const KEY_STEP = 0.01; // of the photo's longer side, of an arrow key; ten times it with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PAGE_KEYS = new Set([...Object.keys(ARROWS), "Home", "End", "Delete", "Backspace"]);

const $ = (id) => document.getElementById(id);

let edit = null; // the photo, its geometry as edited, and what follows; null: the tool is closed
let drag = null; // what a pointer moves

/** Start the controls. */
export function startCropTool() {
  $("turn-left").addEventListener("click", () => turn(-90));
  $("turn-right").addEventListener("click", () => turn(90));
  $("straighten").addEventListener("input", () => straighten(Number($("straighten").value)));
  $("straighten").addEventListener("change", () => $("crop").classList.remove("straightening"));
  $("crop-shape").addEventListener("change", changeShape);
  $("crop-reset").addEventListener("click", () => setGeometry(DEFAULT_LOOK));
  $("crop-cancel").addEventListener("click", closeCrop);
  $("crop-apply").addEventListener("click", apply);
  const box = $("crop-box");
  box.addEventListener("pointerdown", startDrag);
  box.addEventListener("pointermove", onDrag);
  for (const type of ["pointerup", "pointercancel"]) box.addEventListener(type, endDrag);
  box.addEventListener("keydown", onBoxKey);
  document.addEventListener("keydown", onKeyDown);
  new ResizeObserver(() => edit && draw()).observe($("crop-stage"));
}

/**
 * Show the tool for a photo that is ready.
 *
 * @param {(changes: object) => void} onApply Gets the geometry, part of a look.
 * @throws {RequestError} If the server refuses the picture.
 */
export async function startCrop(photo, onApply) {
  const { width, height } = photo.state;
  const current = (edit = { photo, width, height, onApply });
  try {
    const url = `photos/${photo.id}/before?${lookQuery(photo.look, ["truncated"])}`;
    edit.image = (await picture(url)).cloneNode();
    await edit.image.decode();
  } catch (error) {
    if (edit === current) edit = null;
    throw error;
  }
  if (edit !== current) return; // it was closed or started again
  $("crop-canvas").replaceChildren(edit.image);
  setOpen(true);
  $("crop-shape").value = "free";
  setGeometry(photo.look);
  $("crop-box").focus({ preventScroll: true });
  $("crop").scrollIntoView();
}

/** Close the tool without a change. */
export function closeCrop() {
  if (!edit) return;
  edit = drag = null;
  if ($("crop").hidden) return;
  const hadFocus = $("crop").contains(document.activeElement);
  setOpen(false);
  $("crop-canvas").replaceChildren();
  if (hadFocus) $("crop-open").focus();
}

function setOpen(isOpen) {
  $("crop").hidden = !isOpen;
  $("viewer").classList.toggle("cropping", isOpen);
  for (const id of ["photos", "panel"]) $(id).inert = isOpen;
}

function apply() {
  const { photo, onApply, turn, straighten } = edit;
  const rectangle = roundInwards(edit.rectangle, fits);
  const isLargest = !edit.isChosen || String(rectangle) === String(largest());
  const changes = { turn, straighten, crop: isLargest ? null : rectangle };
  closeCrop();
  if (!sameLook({ ...photo.look, ...changes }, photo.look, GEOMETRY_KEYS)) onApply(changes);
}

/** Take over the geometry of a look. */
function setGeometry({ turn, straighten, crop }) {
  Object.assign(edit, { turn, straighten, isChosen: Boolean(crop) });
  edit.rectangle = edit.wanted = crop ?? largest();
  const limit = Math.max(15, Math.abs(straighten));
  Object.assign($("straighten"), { min: -limit, max: limit, value: straighten });
  if (!crop) $("crop-shape").value = "free";
  draw();
}

const size = () => turnedSize(edit, edit.width, edit.height);
const largest = () => largestRectangle(...size(), edit.straighten);
const fits = (rectangle) => isInside(rectangle, ...size(), edit.straighten);

function turn(degrees) {
  for (let step = 0; step < (degrees + 360) % 360; step += 90) {
    edit.wanted = turnRectangle(edit.wanted, ...size());
    edit.turn = (edit.turn + 90) % 360;
  }
  straighten(edit.straighten);
  $("crop").classList.remove("straightening");
}

/** Straighten; the crop gets as small as it has to, and large again. */
function straighten(degrees) {
  edit.straighten = degrees;
  const [width, height] = size();
  edit.rectangle = edit.isChosen
    ? advance([width / 2, height / 2, 0, 0], edit.wanted, fits)
    : largest();
  if (!edit.isChosen) edit.wanted = edit.rectangle;
  $("crop").classList.add("straightening");
  draw();
}

/** Return the ratio of width to height that the crop keeps, or null. */
function keptRatio() {
  const [width, height] = size();
  return { free: null, original: width / height, square: 1 }[$("crop-shape").value];
}

/** Give the crop the chosen shape: the largest with its centre that was inside of it. */
function changeShape() {
  const ratio = keptRatio();
  if (!ratio) return;
  const [left, top, width, height] = edit.rectangle;
  const w = Math.min(width, height * ratio);
  const h = w / ratio;
  choose([left + (width - w) / 2, top + (height - h) / 2, w, h]);
}

/** Set the rectangle that the user chose, which fits. */
function choose(rectangle) {
  edit.rectangle = edit.wanted = rectangle;
  edit.isChosen = true;
  draw();
}

/** Return a rectangle after a handle, or all of it, is moved by px of the photo. */
function moved(rectangle, handle, dx, dy) {
  const [left, top, w, h] = rectangle;
  if (!handle) {
    const aside = advance(rectangle, [left + dx, top, w, h], fits);
    return advance(aside, [aside[0], top + dy, w, h], fits);
  }
  const signX = handle.includes("e") - handle.includes("w");
  const signY = handle.includes("s") - handle.includes("n");
  const [minW, minH] = size().map((side) => Math.min(MIN_SIDE, side));
  let width = Math.max(minW, w + signX * dx);
  let height = Math.max(minH, h + signY * dy);
  const ratio = keptRatio();
  if (ratio) {
    if (!signX || (signY && height * ratio > width)) width = height * ratio;
    height = width / ratio;
  }
  // The other side stays; the middle, if a handle in the middle also changes the other dimension.
  const place = (start, old, now, sign) => start + ((old - now) * (1 - sign)) / 2;
  const x = place(left, w, width, signX);
  const y = place(top, h, height, signY);
  if (ratio) return advance(rectangle, [x, y, width, height], fits);
  const wider = advance(rectangle, [x, top, width, h], fits);
  return advance(wider, [wider[0], y, wider[2], height], fits);
}

/** Return the px of the page for each px of the photo. */
function scale() {
  const { clientWidth, clientHeight } = $("crop-stage");
  const { paddingLeft } = getComputedStyle($("crop-stage"));
  const space = 2 * parseFloat(paddingLeft); // for handles at the edges
  const [width, height] = size();
  return Math.min((clientWidth - space) / width, (clientHeight - space) / height);
}

function draw() {
  const unit = scale();
  const [width, height] = size();
  const place = (element, [left, top, w, h]) => {
    Object.assign(element.style, {
      left: `${left * unit}px`,
      top: `${top * unit}px`,
      width: `${w * unit}px`,
      height: `${h * unit}px`,
    });
  };
  place($("crop-area"), [0, 0, width, height]);
  const { width: w, height: h } = edit;
  place(edit.image, [(width - w) / 2, (height - h) / 2, w, h]);
  edit.image.style.transform = `rotate(${edit.turn + edit.straighten}deg)`;
  place($("crop-box"), edit.rectangle);
  place($("crop-shade"), edit.rectangle);
  $("straighten").value = edit.straighten;
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  const degrees = formatNumber(edit.straighten, digits);
  $("straighten-value").textContent = t("crop.degrees", { degrees });
  $("straighten").setAttribute("aria-valuetext", t("crop.degrees", { degrees }));
  const [, , cropWidth, cropHeight] = roundInwards(edit.rectangle, fits);
  const text = t("photo.size", { width: `${cropWidth}`, height: `${cropHeight}` });
  if ($("crop-size").textContent !== text) $("crop-size").textContent = text;
}

function startDrag(event) {
  if (event.button !== 0) return;
  event.preventDefault(); // of selecting text
  const handle = event.target.dataset.handle ?? "";
  event.target.focus({ preventScroll: true });
  $("crop-box").setPointerCapture(event.pointerId);
  drag = { handle, x: event.clientX, y: event.clientY, from: edit.rectangle };
  $("crop").classList.add("dragging");
}

function onDrag(event) {
  if (!drag || !$("crop-box").hasPointerCapture(event.pointerId)) return;
  const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
  if (dx || dy) choose(moved(drag.from, drag.handle, dx / scale(), dy / scale()));
}

function endDrag() {
  drag = null;
  $("crop").classList.remove("dragging");
}

function onBoxKey(event) {
  const arrow = ARROWS[event.key];
  if (!arrow || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const step = KEY_STEP * Math.max(...size()) * (event.shiftKey ? 10 : 1);
  const handle = event.target.dataset.handle ?? "";
  choose(moved(edit.rectangle, handle, arrow[0] * step, arrow[1] * step));
}

/** Cancel by Escape, apply by Enter, and keep other keys from what is behind the tool. */
function onKeyDown(event) {
  if (!edit || event.defaultPrevented || event.target.closest("dialog")) return;
  const isShortcut = (event.ctrlKey || event.metaKey) && ["z", "y"].includes(event.key.toLowerCase());
  const inControl = event.target.closest("input, select, textarea");
  if (event.key === "Escape") closeCrop();
  else if (event.key === "Enter" && !event.target.closest("button:not([data-handle]), select")) {
    apply();
  } else if (!isShortcut && (inControl || !PAGE_KEYS.has(event.key))) return;
  event.preventDefault();
}
