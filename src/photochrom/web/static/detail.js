// The visible part of an enlarged picture, at the photo's own pixels.

import { picture } from "./pictures.js";
import { places } from "./zoom.js";

const MAX_SIDE = 2048; // px of a region that the server sends
const MAX_REGIONS = 4; // for more, the user has to enlarge more
const MARGIN = 0.25; // of the visible part's size, on each side

const sides = ["before", "after"];

let shown = null; // the view, the part of it whose detail is shown, and its images
let loading = null; // aborts the requests

/** Remove the detail, as the picture under it has changed. */
export function clearDetail() {
  loading?.abort();
  loading = shown = null;
  for (const side of sides) document.getElementById(`${side}-detail`).replaceChildren();
}

/**
 * Load and show the detail that is visible, if the preview has less than the screen.
 *
 * @param {object} view With `region(side, part)`, which returns a URL, `width` and `height` in px.
 * @param {number} previewWidth In px.
 * @throws {RequestError} If the server refuses.
 */
export async function showDetail(view, previewWidth) {
  const { picture: whole, visible } = places();
  const isSharp = devicePixelRatio * whole.width <= 1.1 * previewWidth;
  if (isSharp || previewWidth >= view.width) return clearDetail();
  const unit = view.width / whole.width; // px of the photo for one of the page
  const x = span((visible.left - whole.left) * unit, visible.width * unit, view.width);
  const y = span((visible.top - whole.top) * unit, visible.height * unit, view.height);
  if (x.count * y.count > MAX_REGIONS) return clearDetail();
  if (shown?.view === view && covers(shown.x, x) && covers(shown.y, y)) return;
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  const parts = cut(y).flatMap(([top, height]) =>
    cut(x).map(([left, width]) => ({ left, top, width, height })),
  );
  try {
    const load = (side) =>
      Promise.all(parts.map((part) => picture(view.region(side, part), { signal })));
    const images = await Promise.all(sides.map(load));
    if (signal.aborted) return;
    shown = { view, x, y, parts, images };
    for (const [index, side] of sides.entries()) {
      for (const image of images[index]) image.alt = "";
      document.getElementById(`${side}-detail`).replaceChildren(...images[index]);
    }
    placeDetail();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Place the detail over the picture. Not by its transformation: at 100 % it is not interpolated. */
export function placeDetail() {
  if (!shown) return;
  const { picture: whole } = places();
  const unit = whole.width / shown.view.width; // px of the page for one of the photo
  for (const images of shown.images) {
    for (const [index, { style }] of images.entries()) {
      const { left, top, width, height } = shown.parts[index];
      style.left = `${(whole.left + left * unit).toFixed(2)}px`;
      style.top = `${(whole.top + top * unit).toFixed(2)}px`;
      style.width = `${(width * unit).toFixed(2)}px`;
      style.height = `${(height * unit).toFixed(2)}px`;
    }
  }
}

/** Return the visible px of one dimension, and those to load: a margin more. */
function span(first, length, end) {
  const [visibleFrom, visibleTo] = [Math.max(0, first), Math.min(end, first + length)];
  const count = Math.ceil((visibleTo - visibleFrom) / MAX_SIDE);
  const margin = Math.max(0, Math.min(MARGIN * length, (count * MAX_SIDE - length) / 2 - 1));
  const from = Math.max(0, Math.floor(visibleFrom - margin));
  const to = Math.min(end, Math.ceil(visibleTo + margin));
  return { visibleFrom, visibleTo, from, to, count };
}

const covers = (loaded, { visibleFrom, visibleTo }) =>
  loaded.from <= visibleFrom && loaded.to >= visibleTo;

/** Return [first, length] in px of each region of one dimension. */
function cut({ from, to, count }) {
  const step = Math.ceil((to - from) / count);
  return Array.from({ length: count }, (_, index) => {
    const first = from + index * step;
    return [first, Math.min(step, to - first)];
  });
}
