// The page: which photo is chosen, and what is said about it.

import * as intake from "./intake.js";
import * as look from "./look.js";
import {
  add,
  change,
  failure,
  forget,
  lookAgain,
  photos,
  remove,
  settled,
  start,
  status,
} from "./photos.js";
import { Refused, ask, onConnection } from "./server.js";
import { show, startStage } from "./stage.js";
import * as strip from "./strip.js";

const $ = (id) => document.getElementById(id);
const MOVING = 800; // px of the picture while a slider moves; the sharp one follows
const LIMIT = Number(document.body.dataset.megabytes) * 1e6; // bytes
const FIRST_LOOK = look.defaults();

let chosen = null;
let newestModel = document.body.dataset.model;
let drawing = false;
let news = []; // sentences for screen readers that were not said yet

/** Draw once, however much changes before the browser gets to it. */
function redraw() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  if (!photos.includes(chosen)) chosen = photos[0] ?? null;
  const any = photos.length > 0;
  const focused = document.activeElement;
  $("welcome").hidden = any;
  $("work").hidden = $("add").hidden = $("album").hidden = !any;
  strip.draw(photos, chosen, choose);
  drawSummary();
  drawStage();
  drawPanel();
  say();
  if (!any && (!focused.isConnected || focused.closest("[hidden]"))) $("pick").focus();
}

function drawSummary() {
  const count = (...names) => photos.filter((each) => names.includes(status(each))).length;
  const [ready, failed] = [count("ready"), count("failed")];
  const parts = [`${ready} of ${photos.length} ready`, ...(failed ? [`${failed} failed`] : [])];
  $("summary").textContent = parts.join(", ");
  document.title = photos.length ? `photochrom: ${parts[0]}` : "photochrom";
  $("zip").hidden = ready < 2;
}

function drawStage() {
  if (!chosen) {
    show({ photo: null, before: null, after: null });
    return;
  }
  const { state, url } = chosen;
  const now = status(chosen);
  const address = `/photos/${chosen.id}`;
  const ready = now === "ready";
  // While it is colorized again, the picture stays as it was.
  if (ready) {
    const size = chosen.moving ? `&longest=${MOVING}` : "";
    chosen.after = `${address}/after?${look.quick(chosen.look)}&revision=${state.revision}${size}`;
  }
  show({
    photo: chosen,
    before: chosen.after ? `${address}/before` : url,
    after: chosen.after,
    ending: strip.ending(chosen),
  });
  $("progress").hidden = ready || now === "failed";
  $("progress").textContent = `${strip.progress(chosen)}${now === "working" ? "…" : ""}`;
  $("progress").dataset.status = now;
  $("failure").hidden = now !== "failed";
  $("failure").textContent = failure(chosen) ?? "";
}

function drawPanel() {
  if (!chosen) return;
  const { state } = chosen;
  $("name").textContent = chosen.name;
  const facts = [];
  if (state?.width) facts.push(`${state.width} × ${state.height} px`);
  if (state?.pages > 1) facts.push(`${state.pages} pages, of which you see the first`);
  $("facts").textContent = facts.join(", ") || "\u00a0";
  const usable = Boolean(chosen.look) && status(chosen) !== "failed";
  $("look").disabled = !usable;
  look.write(chosen.look ?? FIRST_LOOK);
  const differs = (key) => FIRST_LOOK[key] !== chosen.look[key];
  $("reset").classList.toggle("unseen", !(usable && Object.keys(FIRST_LOOK).some(differs)));
  $("everywhere").hidden = photos.length < 2;
  const link = $("download");
  if (status(chosen) === "ready") link.href = `/photos/${chosen.id}/result`;
  else link.removeAttribute("href");
  link.download = state?.output ?? "";
  link.setAttribute("aria-disabled", String(!link.href));
  link.toggleAttribute("data-busy", Boolean(chosen.saving));
  link.textContent = chosen.saving ? "Preparing…" : "Download";
}

function choose(photo) {
  chosen = photo;
  draw();
  strip.scrollTo(photo);
}

/** Say to screen readers what has happened since. */
function say() {
  if (!news.length) return;
  $("said").textContent = [...news, `${$("summary").textContent}.`].join(" ");
  news = [];
}

function warn(sentence) {
  $("notice").querySelector("p").textContent = sentence;
  $("notice").hidden = false;
}

/** Tell of what the server refused; if it has no such photo, it may have forgotten all. */
function refused(error) {
  if (error.status === 404) lookAgain();
  else warn(error.message);
}

function removeChosen() {
  const place = photos.indexOf(chosen);
  const inStrip = $("strip").contains(document.activeElement);
  const gone = chosen;
  chosen = photos[place + 1] ?? photos[place - 1] ?? null;
  news.push(`${gone.name} is removed.`);
  remove(gone);
  draw();
  if (inStrip) strip.focus(chosen);
}

/** Fetch the result, so that what goes wrong can be told, and save it. */
async function save(photo) {
  if (photo.saving) return;
  photo.saving = true;
  redraw();
  try {
    await settled();
    const file = await ask(`/photos/${photo.id}/result`, { as: "blob" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = photo.state.output;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it meanwhile
    news.push(`${photo.state.output} is saved.`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refused(error);
  } finally {
    photo.saving = false;
    redraw();
  }
}

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !chosen) return;
  const { target } = event;
  if (target.closest("dialog, input, select, textarea")) return;
  const inStrip = $("strip").contains(target);
  const place = photos.indexOf(chosen);
  const steps = { ArrowLeft: place - 1, ArrowRight: place + 1 };
  if (inStrip) Object.assign(steps, { Home: 0, End: photos.length - 1 });
  if (event.key in steps) {
    event.preventDefault();
    choose(photos[Math.min(photos.length - 1, Math.max(0, steps[event.key]))]);
    if (inStrip) strip.focus(chosen);
  } else if (event.key === "Delete" || (event.key === "Backspace" && inStrip)) {
    event.preventDefault();
    removeChosen();
  }
}

function startButtons() {
  $("everywhere").addEventListener("click", () => {
    news.push(`All ${photos.length} photos have this look.`);
    change(photos, { ...chosen.look });
  });
  $("reset").addEventListener("click", () => {
    change([chosen], FIRST_LOOK);
    newestModel = FIRST_LOOK.model ?? newestModel;
  });
  $("remove").addEventListener("click", removeChosen);
  $("download").addEventListener("click", (event) => {
    event.preventDefault();
    if (status(chosen) === "ready") save(chosen);
  });
  let known = false; // whether the server knows every look
  $("zip").addEventListener("click", async (event) => {
    if (known) return;
    event.preventDefault();
    await settled();
    known = true;
    $("zip").click();
    known = false;
  });
  $("forget").addEventListener("click", () => $("sure").showModal());
  $("sure").addEventListener("close", () => {
    if ($("sure").returnValue !== "yes") return;
    forget();
    draw();
    $("said").textContent = "All photos are forgotten.";
  });
  $("notice").querySelector("button").addEventListener("click", () => ($("notice").hidden = true));
}

onConnection((works) => {
  if ($("connection").hidden === works) return;
  $("connection").textContent = works ? "" : "The connection is lost; trying again.";
  $("connection").hidden = works;
});
startStage(refused);
startButtons();
document.addEventListener("keydown", onKey);
window.addEventListener("beforeunload", (event) => {
  const unsent = photos.some((each) => ["queued", "sending", "full"].includes(each.phase));
  if (unsent) event.preventDefault();
});
intake.takeIn((files) => add(files, newestModel, LIMIT));
look.startLook({
  input(changed) {
    if (!chosen) return; // forgotten while the slider was held
    Object.assign(chosen.look, changed);
    chosen.moving = true;
    drawStage();
  },
  change(changed) {
    if (!chosen) return;
    newestModel = changed.model ?? newestModel;
    chosen.moving = false;
    change([chosen], changed);
  },
});
$("local").hidden = !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
start({
  change: redraw,
  say: (sentence) => news.push(sentence),
  warn,
  fresh(added) {
    if (!added.length) return;
    draw();
    choose(added[0]);
  },
});
