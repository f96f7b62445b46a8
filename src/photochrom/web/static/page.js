// The page: the selected photo, and the elements around it.

import { onConnectionChange } from "./api.js";
import { onFiles } from "./file_input.js";
import { defaultOptions, previewQuery, showOptions, startOptions } from "./options.js";
import {
  addFiles,
  changeOptions,
  errorOf,
  photos,
  refresh,
  removeAll,
  removePhoto,
  startPhotos,
  statusOf,
} from "./photos.js";
import { download, startSaving } from "./saving.js";
import { t } from "./texts.js";
import {
  drawThumbnails,
  fileType,
  focusThumbnail,
  scrollToThumbnail,
  statusText,
  thumbnailImage,
} from "./thumbnails.js";
import { showView, startViewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const MOVING_PREVIEW_SIZE = 800; // px, while a slider moves
const MAX_BYTES = Number(document.body.dataset.maxBytes);
const DEFAULTS = defaultOptions();

let selected = null;
let latestModel = document.body.dataset.model;
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
  if (!photos.includes(selected)) selected = photos[0] ?? null;
  const isEmpty = photos.length === 0;
  const focused = document.activeElement;
  $("welcome").hidden = !isEmpty;
  $("editor").hidden = $("add-photos").hidden = $("toolbar").hidden = isEmpty;
  drawThumbnails(photos, selected, select);
  drawSummary();
  drawViewer();
  drawPanel();
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
  const { state, fileUrl } = selected;
  const status = statusOf(selected);
  const path = `/photos/${selected.id}`;
  const isReady = status === "ready";
  // While a photo is colorized again, its old preview stays.
  if (isReady) {
    const size = selected.sliderMoving ? `&max_size=${MOVING_PREVIEW_SIZE}` : "";
    const query = previewQuery(selected.options);
    selected.afterUrl = `${path}/after?${query}${size}`;
  }
  showView({
    photo: selected,
    before: selected.afterUrl ? `${path}/before` : fileUrl,
    after: selected.afterUrl,
    thumbnail: thumbnailImage(selected),
    placeholder: fileType(selected),
    width: state?.width,
  });
  $("progress").hidden = isReady || status === "failed";
  $("progress").textContent = `${statusText(selected)}${status === "working" ? "…" : ""}`;
  $("error").hidden = status !== "failed";
  $("error").textContent = errorOf(selected) ?? "";
}

function drawPanel() {
  if (!selected) return;
  const { state, options, downloading } = selected;
  $("photo-name").textContent = selected.name;
  const info = [];
  if (state?.width) info.push(t("photo.size", { width: `${state.width}`, height: `${state.height}` }));
  if (state?.pages > 1) info.push(t("photo.pages", { count: state.pages }));
  $("photo-info").textContent = info.join(", ") || "\u00a0";
  const isEditable = Boolean(options) && statusOf(selected) !== "failed";
  $("options").disabled = !isEditable;
  showOptions(options ?? DEFAULTS);
  const canReset = isEditable && Object.keys(DEFAULTS).some((key) => DEFAULTS[key] !== options[key]);
  $("reset").classList.toggle("invisible", !canReset);
  $("apply-to-all").hidden = photos.length < 2;
  const link = $("download");
  if (statusOf(selected) === "ready") link.href = `/photos/${selected.id}/result?${previewQuery(options)}`;
  else link.removeAttribute("href");
  link.download = state?.output_name ?? "";
  link.setAttribute("aria-disabled", String(!link.href));
  link.toggleAttribute("data-busy", downloading);
  link.textContent = t(downloading ? "download.busy" : "download.button");
}

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

function warn(message) {
  $("notice").querySelector("p").textContent = message;
  $("notice").hidden = false;
}

/** Show an error of the server; after a 404, check whether the session has expired. */
function showError(error) {
  if (error.status === 404) refresh();
  else warn(error.message);
}

function removeSelected() {
  const index = photos.indexOf(selected);
  const hadFocus = $("thumbnails").contains(document.activeElement);
  const removed = selected;
  selected = photos[index + 1] ?? photos[index - 1] ?? null;
  announcements.push(t("remove.done", { name: removed.name }));
  removePhoto(removed);
  draw();
  if (hadFocus) focusThumbnail(selected);
}

function onKeyDown(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !selected) return;
  const { target, key } = event;
  if (target.closest("dialog, input, select, textarea")) return;
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
    removeSelected();
  }
}

function startButtons() {
  $("apply-to-all").addEventListener("click", () => {
    announcements.push(t("panel.applied_to_all", { count: photos.length }));
    changeOptions(photos, { ...selected.options });
  });
  $("reset").addEventListener("click", () => {
    changeOptions([selected], DEFAULTS);
    latestModel = DEFAULTS.model ?? latestModel;
  });
  $("remove").addEventListener("click", removeSelected);
  $("download").addEventListener("click", (event) => {
    event.preventDefault();
    if (statusOf(selected) === "ready") download(selected);
  });
  $("remove-all").addEventListener("click", () => $("confirm-remove").showModal());
  $("confirm-remove").addEventListener("close", () => {
    if ($("confirm-remove").returnValue !== "yes") return;
    removeAll();
    draw();
    $("status").textContent = t("remove_all.done");
  });
  $("notice").querySelector("button").addEventListener("click", () => ($("notice").hidden = true));
}

onConnectionChange((isConnected) => {
  if ($("connection").hidden === isConnected) return;
  $("connection").textContent = isConnected ? "" : t("connection.lost");
  $("connection").hidden = isConnected;
});
startViewer(showError);
startButtons();
document.addEventListener("keydown", onKeyDown);
window.addEventListener("beforeunload", (event) => {
  const isUploading = photos.some(({ phase }) => ["queued", "uploading", "full"].includes(phase));
  if (isUploading) event.preventDefault();
});
onFiles((files) => addFiles(files, latestModel, MAX_BYTES));
startOptions({
  onInput(options) {
    if (!selected) return; // removed while the slider moved
    Object.assign(selected.options, options);
    selected.sliderMoving = true;
    drawViewer();
  },
  onChange(options) {
    if (!selected) return;
    latestModel = options.model ?? latestModel;
    selected.sliderMoving = false;
    changeOptions([selected], options);
  },
});
startSaving({
  onChange: scheduleDraw,
  announce: (message) => announcements.push(message),
  showError,
});
$("welcome-help").textContent = t("welcome.help", { size: MAX_BYTES / 1e6 });
$("local-note").hidden = !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
startPhotos({
  onChange: scheduleDraw,
  onAdd(added) {
    if (!added.length) return;
    draw();
    select(added[0]);
  },
  announce: (message) => announcements.push(message),
  warn,
});
