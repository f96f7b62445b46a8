// The large picture: the photo as it was below, in colour above, as far as the slider says.

import { load } from "./pictures.js";
import { Refused } from "./server.js";

const START = 65; // % in colour once a photo is ready
const REVEAL = 1100; // ms until it is

const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let wanted = null; // the newest view that is not shown yet
let busy = false;
let shown = {}; // which photo, and the addresses of its pictures
let refused = () => {};
let sweep = 0; // counts the reveals, so that an old one ends

/**
 * Show a photo once its pictures are decoded; the newest call wins.
 *
 * @param {{photo: object, before: string | null, after: string | null}} view Addresses; without
 *   `before` there is no picture to show, without `after` no colour yet.
 */
export async function show(view) {
  wanted = view;
  if (busy) return;
  busy = true;
  while (wanted) {
    const next = wanted;
    wanted = null;
    try {
      await put(next);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refused(error); // what is shown stays
    }
  }
  busy = false;
}

async function put(view) {
  const same = view.photo === shown.photo;
  if (same && view.before === shown.before && view.after === shown.after) return;
  const keep = same && view.before === shown.before;
  const [before, after] = await Promise.all([
    keep ? $("before").firstChild : view.before && load(view.before),
    same && view.after === shown.after ? $("after").firstChild : view.after && load(view.after),
  ]);
  if (wanted && wanted.photo !== view.photo) return; // not to be seen any more
  shown = view;
  $("frame").hidden = !before;
  $("blank").hidden = Boolean(before) || !view.ending;
  $("blank").textContent = view.ending ?? "";
  $("compare").hidden = !(before && after);
  fill($("before"), before, `${view.photo?.name}, as it was`);
  fill($("after"), after, `${view.photo?.name}, in colour`);
  if (!before) return;
  if (!keep) {
    $("frame").style.setProperty("--ratio", before.naturalWidth / before.naturalHeight);
    $("frame").style.setProperty("--width", `${before.naturalWidth}px`);
  }
  if (after && !view.photo.revealed) {
    view.photo.revealed = true;
    reveal();
  }
}

function fill(place, image, alt) {
  if (image) image.alt = alt;
  if (image !== place.firstChild) place.replaceChildren(...(image ? [image] : []));
}

/** Let the slider decide how much is in colour; call back with what the server refuses. */
export function startStage(callback) {
  refused = callback;
  const slider = $("share");
  slider.addEventListener("input", () => {
    sweep++;
    setShare(slider.value);
  });
  // Safari moves a slider only by its thumb; a finger may take hold anywhere.
  const follow = (event) => {
    if (event.pointerType !== "touch") return;
    const { left, width } = $("frame").getBoundingClientRect();
    sweep++;
    setShare(Math.min(100, Math.max(0, (100 * (event.clientX - left)) / width)));
  };
  slider.addEventListener("pointermove", follow);
  slider.addEventListener("pointerup", follow);
  setShare(START);
}

function setShare(percent) {
  const slider = $("share");
  slider.value = percent;
  slider.setAttribute("aria-valuetext", `${Math.round(slider.value)} %`);
  $("frame").style.setProperty("--share", `${slider.value}%`);
  $("tag-after").classList.toggle("faint", slider.value < 15);
  $("tag-before").classList.toggle("faint", slider.value > 85);
}

/** Draw the colour over the picture, from the left to where the slider rests. */
function reveal() {
  const mine = ++sweep;
  if (calm.matches || document.hidden) {
    setShare(START);
    return;
  }
  const begin = performance.now();
  const step = (now) => {
    if (mine !== sweep) return;
    const done = Math.min(1, Math.max(0, (now - begin) / REVEAL));
    setShare(START * (1 - (1 - done) ** 3));
    if (done < 1) requestAnimationFrame(step);
  };
  setShare(0);
  requestAnimationFrame(step);
}
