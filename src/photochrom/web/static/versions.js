// The versions of a photo: small pictures of looks that differ in one thing; a click takes one.

import { RequestError, request } from "./api.js";
import { GEOMETRY_KEYS, PICTURE_KEYS, lookQuery, sameLook, takesHints } from "./looks.js";
import { statusOf } from "./photos.js";
import { picture } from "./pictures.js";
import { t } from "./texts.js";

const DWELL_TIME = 700; // ms that a photo is shown before the server makes its versions
const HINTS_TIME = 2000; // ms instead, while hints are set one after the other
const PLACEHOLDERS = 4;
const LIST_KEYS = ["model", ...GEOMETRY_KEYS, "truncated"]; // with hints: which versions there are

const $ = (id) => document.getElementById(id);

let onChoose = () => {};
let isVisible = false;
let wanted = {}; // {photo, look, key} of the versions that are shown or being made; see `baseOf`
let timer = 0;
let loading = new AbortController();
let versions = []; // the changes of a look that make each

/** Call back with the changes of a look when a version is chosen. */
export function startVersions(callback) {
  onChoose = callback;
  new IntersectionObserver(([{ isIntersecting }]) => {
    isVisible = isIntersecting;
    scheduleLoad();
  }).observe($("versions"));
}

/** Show the versions of a photo, once it has been shown for a moment. */
export function drawVersions(photo) {
  const isReady = photo && statusOf(photo) === "ready";
  const isOther = photo !== wanted.photo;
  if (photo?.changing && !isOther) {
    cancelLoad();
    return;
  }
  const look = photo && baseOf(photo);
  if (isOther || (photo && !sameLook(look, wanted.look, [...LIST_KEYS, "hints"]))) {
    showPlaceholders();
  }
  markChosen(photo);
  const key = isReady ? lookQuery(look, PICTURE_KEYS) : null;
  if (isOther || key !== wanted.key) {
    cancelLoad();
    loading.abort();
    wanted = { photo, look, key, loaded: false };
  }
  scheduleLoad();
}

/** Return the look of a photo apart from what makes its versions differ. */
function baseOf(photo) {
  const { look } = photo;
  if (!takesHints(look.model)) return { ...look, size: null };
  const isVersion =
    photo === wanted.photo &&
    sameLook(look, wanted.look, LIST_KEYS) &&
    versions.some((changes) => sameLook({ ...look, ...changes }, look));
  return isVersion ? { ...look, hints: wanted.look.hints } : look;
}

function scheduleLoad() {
  if (timer || !isVisible || !wanted.key || wanted.loaded) return;
  timer = setTimeout(load, wanted.look.hints.length ? HINTS_TIME : DWELL_TIME);
}

function cancelLoad() {
  clearTimeout(timer);
  timer = 0;
}

async function load() {
  const current = wanted;
  const { photo, look } = current;
  timer = 0;
  current.loaded = true;
  loading = new AbortController();
  const { signal } = loading;
  $("versions-help").textContent = t("versions.help");
  try {
    const path = `photos/${photo.id}`;
    const answer = await request(`${path}/versions?${lookQuery(look)}`, { signal });
    if (signal.aborted) return;
    showVersions(answer.versions);
    markChosen(photo);
    if ($("versions").hidden) return;
    await Promise.all(
      versions.map(async (changes, index) => {
        const query = lookQuery({ ...look, ...changes }, PICTURE_KEYS);
        const image = (await picture(`${path}/thumbnail?${query}`, { signal }))?.cloneNode();
        if (current !== wanted || !image) return;
        image.alt = "";
        $("version-list").children[index].querySelector(".version-picture").replaceChildren(image);
      }),
    );
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof RequestError)) throw error;
    if (current === wanted) $("versions-help").textContent = t("versions.failed");
  }
}

function showPlaceholders() {
  versions = [];
  $("versions").hidden = false;
  const list = $("version-list");
  list.replaceChildren(...Array.from({ length: PLACEHOLDERS }, createPlaceholder));
  list.setAttribute("aria-busy", "true");
}

function createPlaceholder() {
  const item = document.createElement("div");
  item.className = "version";
  item.appendChild(document.createElement("span")).className = "version-picture";
  item.appendChild(document.createElement("span")).textContent = "\u00a0";
  return item;
}

/** Show the choices; those that are shown already keep their pictures and the focus. */
function showVersions(newVersions) {
  const isSame = JSON.stringify(newVersions) === JSON.stringify(versions);
  versions = newVersions;
  const list = $("version-list");
  if (!isSame) list.replaceChildren(...versions.map(createVersion));
  list.setAttribute("aria-busy", "false");
  $("versions").hidden = versions.length < 2; // a small photo
}

function createVersion(changes, index) {
  const label = String.fromCharCode(65 + index); // A, B, ...
  const item = document.createElement("label");
  item.className = "version";
  const radio = item.appendChild(document.createElement("input"));
  Object.assign(radio, { type: "radio", name: "version", className: "visually-hidden" });
  radio.setAttribute("aria-label", t("versions.version", { label }));
  radio.addEventListener("change", () => onChoose(changes));
  item.appendChild(document.createElement("span")).className = "version-picture";
  item.appendChild(document.createElement("span")).textContent = label;
  return item;
}

function markChosen(photo) {
  const radios = [...$("version-list").querySelectorAll("input")];
  for (const [index, changes] of versions.entries()) {
    radios[index].checked = sameLook({ ...photo.look, ...changes }, photo.look);
  }
}
