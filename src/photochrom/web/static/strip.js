// The row of thumbnails: a listbox, of which one photo is chosen.

import { load } from "./pictures.js";
import { failure, release, status } from "./photos.js";

const COVER = 800; // ms until a picture in colour covers the one below, see page.css

const strip = document.getElementById("strip");
const items = new Map(); // of each photo, the parts of its thumbnail

/** Say in a few words how it goes with a photo. */
export function progress(photo) {
  const { place } = photo.state ?? {};
  switch (status(photo)) {
    case "queued":
      return "Waiting";
    case "sending":
      return photo.percent < 100 ? `Uploading ${photo.percent} %` : "Uploading";
    case "full":
      return "Waiting for a free place";
    case "waiting":
      return place > 1 ? `Waiting, ${place - 1} before it` : "Next";
    case "working":
      return "Colorizing";
    case "ready":
      return "Ready";
    default:
      return "Failed";
  }
}

/** Return a file's ending, as a sign for what the browser cannot show. */
export function ending(photo) {
  const dot = photo.name.lastIndexOf(".");
  return dot > 0 ? photo.name.slice(dot + 1, dot + 6).toUpperCase() : "?";
}

/** Bring the row up to date, and call `choose(photo)` when one is clicked. */
export function draw(photos, chosen, choose) {
  for (const [photo, { option }] of items) {
    if (photos.includes(photo)) continue;
    option.remove();
    items.delete(photo);
  }
  for (const [index, photo] of photos.entries()) {
    if (!items.has(photo)) items.set(photo, make(photo, choose));
    const item = items.get(photo);
    const there = strip.children[index] ?? null;
    if (there !== item.option) strip.insertBefore(item.option, there);
    update(photo, item, photo === chosen);
  }
}

/** Move the keyboard, and the row, to a photo. */
export function focus(photo) {
  items.get(photo)?.option.focus();
}

export function scrollTo(photo) {
  items.get(photo)?.option.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function make(photo, choose) {
  const add = (parent, tag, name) => {
    const element = parent.appendChild(document.createElement(tag));
    element.className = name;
    return element;
  };
  const option = document.createElement("div");
  option.className = "thumb";
  option.setAttribute("role", "option");
  option.title = photo.name;
  option.addEventListener("click", () => choose(photo));
  const place = add(option, "span", "place");
  const bar = add(option, "span", "bar");
  add(option, "span", "file").textContent = photo.name;
  const words = add(option, "span", "words");
  const sign = add(place, "span", "sign");
  sign.textContent = ending(photo);
  sign.ariaHidden = "true";
  const item = { option, place, bar, words, address: null };
  if (photo.url) showOwn(item, photo.url);
  return item;
}

function update(photo, item, chosen) {
  const now = status(photo);
  const { option } = item;
  option.dataset.status = now;
  option.setAttribute("aria-selected", String(chosen));
  option.tabIndex = chosen ? 0 : -1;
  option.title = now === "failed" ? failure(photo) : photo.name;
  const words = progress(photo);
  if (item.words.textContent !== words) item.words.textContent = words;
  item.bar.style.setProperty("--done", now === "sending" ? `${photo.percent}%` : "0%");
  const address = `/photos/${photo.id}/thumbnail?revision=${photo.state?.revision}`;
  if (now === "ready" && item.address !== address) {
    item.address = address;
    showColored(item, address, photo);
  }
}

/** Show the file itself, if the browser can; not decoded here, as it may be huge. */
function showOwn({ place }, address) {
  const image = new Image();
  image.alt = "";
  image.className = "own";
  image.draggable = false;
  image.decoding = "async";
  image.onerror = () => image.remove();
  image.src = address;
  place.append(image);
}

/** Lay the picture in colour over what the thumbnail shows. */
async function showColored({ place }, address, photo) {
  const image = await load(address).catch(() => null); // the large picture tells of any trouble
  if (!image) return;
  image.alt = "";
  image.className = "colored";
  const covered = [...place.querySelectorAll("img")];
  place.append(image);
  setTimeout(() => {
    for (const old of covered) old.remove();
    release(photo);
  }, COVER);
}
