// The large preview: the photo in colour over the original, split by a slider.

import { RequestError, loadImage } from "./api.js";
import { t } from "./texts.js";

const DEFAULT_SPLIT = 65; // % of the width in colour
const REVEAL_DURATION = 1100; // ms

const $ = (id) => document.getElementById(id);
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

let requested = null; // the latest view that is not shown yet
let loading = false;
let shown = {}; // the view that is shown
let onError = () => {};
let revealCount = 0; // stops an animation when another one or the user moves the slider

/**
 * Show a photo once its images are decoded; the latest call wins.
 *
 * @param {{photo: object, before: string | null, after: string | null, placeholder: string}} view
 *   The photo, the URLs of its images, and a text that replaces a missing `before`.
 */
export async function showView(view) {
  requested = view;
  if (loading) return;
  loading = true;
  while (requested) {
    const next = requested;
    requested = null;
    try {
      await loadView(next);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      onError(error);
    }
  }
  loading = false;
}

async function loadView(view) {
  const samePhoto = view.photo === shown.photo;
  const sameBefore = samePhoto && view.before === shown.before;
  const sameAfter = samePhoto && view.after === shown.after;
  if (sameBefore && sameAfter) return;
  const [before, after] = await Promise.all([
    sameBefore ? $("before").firstChild : view.before && loadImage(view.before),
    sameAfter ? $("after").firstChild : view.after && loadImage(view.after),
  ]);
  if (requested && requested.photo !== view.photo) return;
  shown = view;
  $("frame").hidden = !before;
  $("placeholder").hidden = Boolean(before) || !view.placeholder;
  $("placeholder").textContent = view.placeholder ?? "";
  $("compare").hidden = !(before && after);
  setImage($("before"), before, t("viewer.before_alt", { name: view.photo?.name }));
  setImage($("after"), after, t("viewer.after_alt", { name: view.photo?.name }));
  if (!before) return;
  if (!sameBefore) {
    $("frame").style.setProperty("--ratio", before.naturalWidth / before.naturalHeight);
    $("frame").style.setProperty("--width", `${before.naturalWidth}px`);
  }
  if (after && !view.photo.revealed) {
    view.photo.revealed = true;
    reveal();
  }
}

function setImage(parent, image, alt) {
  if (image) image.alt = alt;
  if (image !== parent.firstChild) parent.replaceChildren(...(image ? [image] : []));
}

/** Start the slider; call back with the errors of requests for images. */
export function startViewer(errorCallback) {
  onError = errorCallback;
  const slider = $("split");
  slider.addEventListener("input", () => {
    revealCount++;
    setSplit(slider.value);
  });
  // Safari moves a slider only by its thumb; a touch may start anywhere.
  const followTouch = (event) => {
    if (event.pointerType !== "touch") return;
    const { left, width } = $("frame").getBoundingClientRect();
    revealCount++;
    setSplit(Math.min(100, Math.max(0, (100 * (event.clientX - left)) / width)));
  };
  slider.addEventListener("pointermove", followTouch);
  slider.addEventListener("pointerup", followTouch);
  setSplit(DEFAULT_SPLIT);
}

function setSplit(percent) {
  const slider = $("split");
  slider.value = percent;
  slider.setAttribute("aria-valuetext", t("viewer.percent", { percent: Math.round(slider.value) }));
  $("frame").style.setProperty("--split", `${slider.value}%`);
  $("tag-after").classList.toggle("faint", slider.value < 15);
  $("tag-before").classList.toggle("faint", slider.value > 85);
}

/** Animate the split from the left edge to its default. */
function reveal() {
  const current = ++revealCount;
  if (reducedMotion.matches || document.hidden) {
    setSplit(DEFAULT_SPLIT);
    return;
  }
  const start = performance.now();
  const step = (now) => {
    if (current !== revealCount) return;
    const progress = Math.min(1, Math.max(0, (now - start) / REVEAL_DURATION));
    setSplit(DEFAULT_SPLIT * (1 - (1 - progress) ** 3));
    if (progress < 1) requestAnimationFrame(step);
  };
  setSplit(0);
  requestAnimationFrame(step);
}
