// The page: the selected photo, and the elements around it.

import { RequestError, onConnectionChange } from "./api.js";
import { downloadAll, startArchives } from "./archives.js";
import { startCrop, startCropTool } from "./crop.js";
import { startFileInput } from "./file_input.js";
import { resultSize } from "./geometry.js";
import { drawGrid, startGrid } from "./grid.js";
import { addHintFiles, isHintFile, startHintFiles, useHintFiles } from "./hint_files.js";
import {
  DEFAULT_LOOK,
  GEOMETRY_KEYS,
  PICTURE_KEYS,
  canRedo,
  canUndo,
  changeLook,
  lookQuery,
  sameLook,
  stepHistory,
  takesHints,
} from "./looks.js";
import { addHint, drawHints, dropHint, onTap, placeHints, startHints } from "./hints.js";
import { hideUndo, offerUndo, showNotice, startNotices } from "./notices.js";
import { showOptions, startOptions } from "./options.js";
import {
  addFiles,
  chosenBefore,
  errorOf,
  finishRemoval,
  isEditable,
  photos,
  refresh,
  refuseLook,
  removeAll,
  removePhotos,
  removedPhotos,
  retryPhoto,
  startPhotos,
  statusOf,
  storeChosen,
  undoRemoval,
} from "./photos.js";
import { drawSaving, startSaving } from "./saving.js";
import { formatMegabytes, t } from "./texts.js";
import {
  fileType,
  focusThumbnail,
  scrollToThumbnail,
  statusText,
  thumbnailImage,
} from "./thumbnails.js";
import { drawVersions, startVersions } from "./versions.js";
import { showView, startViewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const MOVING_PREVIEW_SIZE = 800; // px, while a slider moves
const SLIDER_KEYS = new Set(["saturation", "strength"]); // which leave the original as it is
const MAX_BYTES = Number(document.body.dataset.maxBytes);

let selected = null;
let latestModel = DEFAULT_LOOK.model;
let removalIsLatest = false; // whether the latest change is a removal, and no look
let drawScheduled = false;
let announcements = []; // for screen readers, at the next draw

/** Draw once for all changes of the current task. */
function scheduleDraw() {
  if (drawScheduled) return;
  drawScheduled = true;
  queueMicrotask(() => {
    drawScheduled = false;
    draw();
  });
}

function draw() {
  if (!photos.includes(selected)) selected = chosenBefore() ?? photos[0] ?? null;
  if (selected) storeChosen(selected);
  const isEmpty = photos.length === 0;
  const focused = document.activeElement;
  $("welcome").hidden = !isEmpty;
  $("editor").hidden = $("add-photos").hidden = $("toolbar").hidden = isEmpty;
  drawGrid(photos, selected);
  drawSummary();
  drawViewer();
  drawPanel();
  useHintFiles();
  drawDots();
  announce();
  if (isEmpty && (!focused.isConnected || focused.closest("[hidden]"))) $("file-input").focus();
}

function drawSummary() {
  const count = (status) => photos.filter((photo) => statusOf(photo) === status).length;
  const [ready, failed] = [count("ready"), count("failed")];
  const values = { ready, total: photos.length, failed };
  const summary = t(failed ? "header.summary_failed" : "header.summary", values);
  $("summary").textContent = summary;
  document.title = photos.length ? `photochrom: ${summary}` : "photochrom";
  $("download-all").hidden = ready < 2;
}

function drawViewer() {
  if (!selected) {
    showView({ photo: null, before: null, after: null, placeholder: "" });
    return;
  }
  const { changing, fileUrl, look, state } = selected;
  const status = statusOf(selected);
  const path = `photos/${selected.id}`;
  const isReady = status === "ready";
  const small = `&max_size=${MOVING_PREVIEW_SIZE}`;
  const original = lookQuery(look, [...GEOMETRY_KEYS, "truncated"]);
  const after = `${path}/after?${lookQuery(look, PICTURE_KEYS)}`;
  const regions = state?.width ? regionsOf(selected) : {};
  const isLarge = Math.max(regions.width, regions.height) > MOVING_PREVIEW_SIZE;
  showView({
    photo: selected,
    look,
    before: isReady ? `${path}/before?${original}` : fileUrl,
    after: isReady ? `${after}${changing ? small : ""}` : null,
    quick: isReady && isLarge && !changing ? `${after}${small}` : null,
    thumbnail: thumbnailImage(selected),
    placeholder: fileType(selected),
    ...regions,
  });
  $("progress").hidden = isReady || status === "failed";
  $("progress").textContent = `${statusText(selected)}${status === "working" ? "…" : ""}`;
  $("error").hidden = status !== "failed";
  $("error-text").textContent = errorOf(selected) ?? "";
  const code = selected.state?.error_code;
  $("use-readable").hidden = code !== "truncated";
  $("try-again").hidden = code !== "server";
}

/** Return the size of a photo's result, and the URLs of its parts; see `showView`. */
function regionsOf({ id, look, state, changing }) {
  const [width, height] = resultSize(look, state.width, state.height);
  const region = (side, part) => {
    const keys = PICTURE_KEYS.filter((key) => side === "after" || !SLIDER_KEYS.has(key));
    return `photos/${id}/region?${lookQuery(look, keys)}&side=${side}&${new URLSearchParams(part)}`;
  };
  return { width, height, region: changing ? null : region };
}

/** Draw the hints over the picture, once it is in colour. */
function drawDots() {
  const { look, goodLook } = selected ?? {};
  const isShown =
    goodLook && statusOf(selected) === "ready" && sameLook(look, goodLook, GEOMETRY_KEYS);
  const isOffered = Boolean(selected) && takesHints(look.model);
  drawHints(isShown && isOffered ? selected : null, isOffered);
}

function drawPanel() {
  drawVersions(selected);
  if (!selected) return;
  drawSaving(selected);
  const { state, look } = selected;
  $("photo-name").textContent = selected.name;
  const info = [];
  if (state?.width) {
    const [width, height] = resultSize(look, state.width, state.height);
    info.push(t("photo.size", { width: `${width}`, height: `${height}` }));
  }
  if (state?.pages > 1) info.push(t("photo.pages", { count: state.pages }));
  $("photo-info").textContent = info.join(", ") || "\u00a0";
  drawNotes(state);
  const editable = isEditable(selected);
  $("options").disabled = !editable;
  showOptions(look);
  setAvailable("crop-open", editable && Boolean(state?.width));
  setAvailable("undo", editable && canUndo(selected));
  setAvailable("redo", editable && canRedo(selected));
  setAvailable("start-over", editable && !sameLook(look, firstLook(selected)));
  $("apply-to-all").hidden = photos.length < 2;
}

/** List what is worth knowing about a photo, and what its result loses. */
function drawNotes(state) {
  const notes = [...(state?.notes ?? []).map((code) => t(`note.${code}`)), ...(state?.warnings ?? [])];
  const list = $("photo-notes");
  list.hidden = !notes.length;
  if (notes.join("\n") === list.innerText) return;
  list.replaceChildren(
    ...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })),
  );
}

/** A button that is not available keeps the focus, unlike a disabled one. */
function setAvailable(id, available) {
  $(id).setAttribute("aria-disabled", String(!available));
}

/** Return the look of a photo before all changes. */
const firstLook = ({ look }) => ({ ...DEFAULT_LOOK, truncated: look.truncated });

function select(photo) {
  selected = photo;
  draw();
  scrollToThumbnail(photo);
}

/** Send the announcements to screen readers. */
function announce() {
  if (!announcements.length) return;
  $("status").textContent = [...announcements, `${$("summary").textContent}.`].join(" ");
  announcements = [];
}

/** Show an error of the server; after a 404, check whether the session has expired. */
function showError(error) {
  if (error.status === 404) refresh();
  else showNotice(error.message);
}

/** Show an error of a request for pictures, and return to the look that was shown before. */
function onViewError(error, { photo, look }) {
  if (error.status === 404) refresh();
  else refuseLook(photo, look, error.message);
}

/** Remove photos, with a notice that offers to undo it. */
function remove(list) {
  const hadFocus = $("thumbnails").contains(document.activeElement);
  if (list.includes(selected)) {
    const index = photos.indexOf(selected);
    const isKept = (photo) => !list.includes(photo);
    selected = photos.slice(index).find(isKept) ?? photos.slice(0, index).findLast(isKept) ?? null;
  }
  removePhotos(list);
  removalIsLatest = true;
  const all = removedPhotos();
  offerUndo(t("remove.done", { count: all.length, name: all[0].name }));
  draw();
  if (hadFocus && selected) focusThumbnail(selected);
}

/** Prepare the selected photo again; the button is hidden, and gives the focus away. */
function retry(changes) {
  retryPhoto(selected, changes);
  focusThumbnail(selected);
}

function bringBack() {
  hideUndo();
  removalIsLatest = false;
  const restored = undoRemoval();
  if (!restored.length) return;
  announcements.push(t("remove.undone", { count: restored.length, name: restored[0].name }));
  select(restored[0]);
  focusThumbnail(selected);
}

/** Go one change back (-1) or forward (1) in the history of the selected photo. */
function step(steps) {
  if (!selected || !isEditable(selected)) return;
  if (!(steps < 0 ? canUndo : canRedo)(selected)) return;
  announcements.push(t(steps < 0 ? "history.undone" : "history.redone"));
  stepHistory(selected, steps);
}

/** Change the look of the selected photo. */
function changeSelected(changes, options) {
  if (selected) changePhoto(selected, changes, options); // else it was removed while a slider moved
}

function changePhoto(photo, changes, options) {
  if (!isEditable(photo)) return;
  removalIsLatest = false;
  latestModel = changes.model ?? latestModel;
  warnOfHints([photo], changes);
  changeLook([photo], changes, options);
}

/** Say that hints are removed if a change is to a model that takes none. */
function warnOfHints(list, { model }) {
  if (!model || takesHints(model)) return;
  const count = list.reduce((sum, { look }) => sum + look.hints.length, 0);
  if (count) showNotice(t("hints.dropped", { count, model }));
}

/** Open the crop tool. */
async function crop() {
  dropHint();
  try {
    await startCrop(selected, (changes) => {
      announcements.push(t("crop.done"));
      changeSelected(changes);
    });
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    showError(error);
  }
}

/** Give photos the look of the selected one, apart from what belongs to one photo. */
function applyLook(list) {
  const { look } = selected;
  const editable = list.filter(isEditable);
  warnOfHints(editable, look);
  for (const photo of editable) {
    const { turn, straighten, crop, truncated, hints } = photo.look;
    const max = photo.state.max_size ?? Infinity;
    const size = look.size && Math.min(look.size, max);
    changeLook([photo], { ...look, size, turn, straighten, crop, truncated, hints });
  }
  announcements.push(t("panel.applied_to_all", { count: editable.length }));
}

function onKeyDown(event) {
  const { target, key } = event;
  if (event.defaultPrevented || event.altKey || target.closest("dialog")) return;
  if (event.ctrlKey || event.metaKey) {
    onShortcut(event);
    return;
  }
  if (!selected || target.closest("input, select, textarea")) return;
  const inThumbnails = $("thumbnails").contains(target);
  const index = photos.indexOf(selected);
  const targets = { ArrowLeft: index - 1, ArrowRight: index + 1 };
  if (inThumbnails) Object.assign(targets, { Home: 0, End: photos.length - 1 });
  if (key in targets) {
    event.preventDefault();
    select(photos[Math.min(photos.length - 1, Math.max(0, targets[key]))]);
    if (inThumbnails) focusThumbnail(selected);
  } else if (key === "Delete" || (key === "Backspace" && inThumbnails)) {
    event.preventDefault();
    remove([selected]);
  }
}

/** Undo by Ctrl+Z, redo by Ctrl+Shift+Z or Ctrl+Y. */
function onShortcut(event) {
  const key = event.key.toLowerCase();
  const isUndo = key === "z" && !event.shiftKey;
  if (!isUndo && key !== "y" && key !== "z") return;
  event.preventDefault();
  if (isUndo && removalIsLatest && removedPhotos().length) bringBack();
  else step(isUndo ? -1 : 1);
}

function onClick(id, action) {
  $(id).addEventListener("click", () => {
    if ($(id).getAttribute("aria-disabled") !== "true") action();
  });
}

function startButtons() {
  onClick("undo", () => step(-1));
  onClick("redo", () => step(1));
  onClick("start-over", () => {
    changeSelected(firstLook(selected));
    announcements.push(t("history.started_over"));
  });
  onClick("apply-to-all", () => applyLook(photos));
  onClick("use-readable", () => retry({ truncated: true }));
  onClick("crop-open", crop);
  onClick("add-hint", addHint);
  onClick("try-again", () => retry({}));
  onClick("remove", () => remove([selected]));
  onClick("download-all", () => downloadAll(photos));
  onClick("remove-all", () => {
    $("confirm-remove").returnValue = ""; // some browsers keep that of the last time at Escape
    $("confirm-remove").showModal();
  });
  $("confirm-remove").addEventListener("close", () => {
    if ($("confirm-remove").returnValue !== "yes") return;
    hideUndo();
    removeAll();
    draw();
    $("status").textContent = t("remove_all.done");
  });
}

onConnectionChange((isConnected) => {
  if ($("connection").hidden === isConnected) return;
  $("connection").textContent = isConnected ? "" : t("connection.lost");
  $("connection").hidden = isConnected;
});
startViewer({
  onError: onViewError,
  onDetailError: showError,
  onShown({ photo, look }) {
    photo.goodLook = look;
    scheduleDraw();
  },
  onMove: placeHints,
  onTap,
});
startNotices({
  onClose: () => (selected ? focusThumbnail(selected) : $("file-input").focus()),
  onUndoRemoval: bringBack,
  onEndRemoval: finishRemoval,
});
startVersions(changeSelected);
startCropTool();
startButtons();
document.addEventListener("keydown", onKeyDown);
window.addEventListener("beforeunload", (event) => {
  const isUploading = photos.some(({ phase }) => ["queued", "uploading", "full"].includes(phase));
  if (isUploading) event.preventDefault();
});
startFileInput({
  onFiles(files, folderOf) {
    const isPhoto = (file) => !isHintFile(file);
    const added = addFiles(files.filter(isPhoto), latestModel, MAX_BYTES);
    addHintFiles(files.filter(isHintFile), added, folderOf);
  },
  warn: showNotice,
});
startGrid({ onShow: select, onDownload: downloadAll, onRemove: remove, onApply: applyLook });
startOptions(changeSelected);
const report = {
  onChange: scheduleDraw,
  announce(message) {
    announcements.push(message);
    scheduleDraw();
  },
  showError,
  warn: showNotice,
};
startHints({ onChange: changePhoto, announce: report.announce });
startSaving(report);
startArchives(report);
startHintFiles({ ...report, onShow: select });
$("welcome-help").textContent = t("welcome.help", { size: formatMegabytes(MAX_BYTES) });
if ($("local-note")) { // not on the static site
  $("local-note").hidden = !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
}
startPhotos({
  onChange: scheduleDraw,
  onAdd(added) {
    if (!added.length) return;
    draw();
    select(added[0]);
  },
  announce: (message) => announcements.push(message),
  warn: showNotice,
});
