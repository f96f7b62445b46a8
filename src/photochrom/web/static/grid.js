// The strip of thumbnails, which scrolls sideways, and the grid of all, where several are selected.

import { t } from "./texts.js";
import {
  drawThumbnails,
  focusThumbnail,
  photoAt,
  scrollToThumbnail,
  selection,
} from "./thumbnails.js";

const LINE = 40; // px, if a wheel counts lines
const $ = (id) => document.getElementById(id);
const list = $("thumbnails");

let photos = [];
let shown = null; // in the viewer
let active = null; // the thumbnail that has the focus, or gets it by Tab
let activeIndex = 0;
let anchor = null; // where a range begins
let isOpen = false;
let callbacks;

/**
 * Start the strip and the grid.
 *
 * Call back: onShow(photo) to show one in the viewer, onDownload(photos), onRemove(photos), and
 * onApply(photos) to give them the look of the shown one.
 */
export function startGrid(newCallbacks) {
  callbacks = newCallbacks;
  list.addEventListener("wheel", scrollSideways, { passive: false });
  list.addEventListener("click", onClick);
  list.addEventListener("focusin", ({ target }) => isOpen && setActive(photoAt(target)));
  document.addEventListener("keydown", onKeyDown, { capture: true });
  $("grid-button").addEventListener("click", () => setOpen(!isOpen));
  $("select-all").addEventListener("click", selectAll);
  onSelection("selection-download", callbacks.onDownload);
  onSelection("selection-apply", callbacks.onApply);
  onSelection("selection-remove", (chosen) => {
    callbacks.onRemove(chosen);
    focusThumbnail(active);
  });
}

function onSelection(id, act) {
  $(id).addEventListener("click", () => {
    if (selection.size) act(selected());
  });
}

/** Update the thumbnails and what is around them. */
export function drawGrid(newPhotos, newShown) {
  photos = newPhotos;
  shown = newShown;
  if (!isOpen) active = shown;
  const hadFocus = list.contains(document.activeElement);
  if (!photos.includes(active)) active = photos[Math.min(activeIndex, photos.length - 1)] ?? null;
  if (!photos.length) isOpen = false;
  redraw();
  // The focus was on a thumbnail that is removed.
  if (isOpen && hadFocus && !list.contains(document.activeElement)) focusThumbnail(active);
}

function redraw() {
  activeIndex = photos.indexOf(active);
  drawThumbnails(photos, { shown, active, multiple: isOpen });
  $("editor").classList.toggle("grid", isOpen);
  list.classList.toggle("selecting", selection.size > 0);
  list.setAttribute("aria-orientation", isOpen ? "vertical" : "horizontal");
  $("photos-bar").hidden = photos.length < 2 && !isOpen;
  $("grid-button").setAttribute("aria-expanded", String(isOpen));
  setText($("grid-button-text"), t(isOpen ? "grid.close" : "grid.open"));
  $("selection-bar").hidden = !isOpen;
  const position = { position: photos.indexOf(shown) + 1, total: photos.length };
  const count = { count: selection.size };
  // A screen reader says the position of a photo anyway.
  $("position").ariaLive = isOpen ? "polite" : "off";
  if (!isOpen) setText($("position"), t("grid.position", position));
  else setText($("position"), t(selection.size ? "grid.selected" : "grid.help", count));
  for (const button of $("selection-bar").querySelectorAll("button.for-selection")) {
    button.ariaDisabled = String(selection.size === 0);
  }
  const isFull = selection.size === photos.length;
  setText($("select-all"), t(isFull ? "grid.select_none" : "grid.select_all"));
  setText($("selection-apply"), t("grid.apply", { name: shown?.name ?? "" }));
  $("selection-apply").title = $("selection-apply").textContent;
}

/** Set a text that differs, as a screen reader would repeat one that is set again. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return the selected photos in the order of the page. */
const selected = () => photos.filter((photo) => selection.has(photo));

/** Open or close the grid; the focus stays on a thumbnail, or on the button. */
function setOpen(open) {
  const hadFocus = list.contains(document.activeElement);
  isOpen = open;
  active = shown;
  anchor = null;
  selection.clear();
  redraw();
  scrollToThumbnail(active);
  if (hadFocus) focusThumbnail(active);
}

function setActive(photo) {
  if (!photo || photo === active) return;
  active = photo;
  redraw();
}

function show(photo) {
  active = photo;
  callbacks.onShow(photo);
  if (isOpen) setOpen(false);
}

function toggle(photo) {
  if (!selection.delete(photo)) selection.add(photo);
  anchor = photo;
  redraw();
}

/** Select the photos from the anchor to this one, and no others. */
function selectRange(photo) {
  anchor = photos.includes(anchor) ? anchor : active;
  const [from, to] = [photos.indexOf(anchor), photos.indexOf(photo)].sort((a, b) => a - b);
  selection.clear();
  for (const each of photos.slice(from, to + 1)) selection.add(each);
  redraw();
}

function selectAll() {
  if (selection.size === photos.length) selection.clear();
  else for (const photo of photos) selection.add(photo);
  redraw();
}

function onClick(event) {
  const photo = photoAt(event.target);
  if (!photo) return;
  if (!isOpen) {
    show(photo);
  } else if (event.shiftKey) {
    selectRange(photo);
  } else if (event.target.matches(".check") || event.ctrlKey || event.metaKey || selection.size) {
    toggle(photo);
  } else {
    show(photo);
  }
}

/** Handle the keys of the open grid; those of the strip are in page.js. */
function onKeyDown(event) {
  if (!isOpen || event.altKey) return;
  if (event.target.closest("dialog, input, select, textarea, [contenteditable]")) return;
  if (handleKey(event)) {
    event.preventDefault();
    event.stopPropagation();
  }
}

/** Return whether a key means something in the grid. */
function handleKey({ key, target, ctrlKey, metaKey, shiftKey }) {
  if (ctrlKey || metaKey) {
    if (key.toLowerCase() !== "a") return false;
    for (const photo of photos) selection.add(photo);
    redraw();
    return true;
  }
  if (key === "Escape") {
    if (!selection.size) {
      setOpen(false);
      if (!list.contains(document.activeElement)) $("grid-button").focus();
    }
    selection.clear();
    redraw();
    return true;
  }
  const inList = list.contains(target);
  if (key === "Delete" || (key === "Backspace" && inList)) {
    const removed = selection.size ? selected() : inList ? [active] : [];
    if (removed.length) callbacks.onRemove(removed);
    return true;
  }
  if (!inList) return key.startsWith("Arrow"); // they are not for the hidden viewer
  if (key === " ") toggle(active);
  else if (key === "Enter") show(active);
  else return moveActive(key, shiftKey);
  return true;
}

function moveActive(key, shiftKey) {
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const index = photos.indexOf(active);
  const targets = {
    ...{ ArrowLeft: index - 1, ArrowRight: index + 1 },
    ...{ ArrowUp: index - columns, ArrowDown: index + columns },
    ...{ Home: 0, End: photos.length - 1 },
  };
  if (!(key in targets)) return false;
  const target = photos[Math.min(photos.length - 1, Math.max(0, targets[key]))];
  if (shiftKey) selectRange(target);
  else anchor = target;
  focusThumbnail(target);
  return true;
}

/** Let a vertical wheel move the strip, until its end. */
function scrollSideways(event) {
  if (isOpen || event.ctrlKey || event.shiftKey) return;
  if (Math.abs(event.deltaY) <= Math.abs(event.deltaX)) return;
  const before = list.scrollLeft;
  const unit = { 0: 1, 1: LINE, 2: list.clientWidth }[event.deltaMode];
  list.scrollBy({ left: event.deltaY * unit, behavior: "instant" });
  if (list.scrollLeft !== before) event.preventDefault();
}
