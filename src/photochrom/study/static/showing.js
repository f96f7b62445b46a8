// Shows stimuli for a given exposure, timed by animation frames.

const COUNTDOWN_MS = 500;
const GAP_MS = 250;
const MASKS_MS = 120;
const MASKS = 4;
const MAX_FRAME_MS = 20; // longer intervals are dropped frames, not the refresh rate

const nextFrame = () => new Promise(requestAnimationFrame);

/**
 * Wait for the frame that is nearest to a time.
 * @param {number} start The time of a frame.
 * @param {number} ms
 * @returns {Promise<number>} The time of the frame nearest to `start + ms`.
 */
async function frameAfter(start, ms) {
  let last = start;
  for (;;) {
    const now = await nextFrame();
    if (now - start >= ms - Math.min(now - last, MAX_FRAME_MS) / 2) return now;
    last = now;
  }
}

async function wait(ms) {
  await frameAfter(await nextFrame(), ms);
}

/**
 * Show an element in the current frame, and hide it after a time.
 * @param {number} start The time of the current frame.
 * @returns {Promise<number>} The time of the frame that hides it.
 */
async function flash(element, start, ms) {
  element.classList.add("visible");
  const end = await frameAfter(start, ms);
  element.classList.remove("visible");
  return end;
}

/** Show elements in the next frame, and return its time. */
export async function show(elements) {
  const time = await nextFrame();
  for (const element of elements) element.classList.add("visible");
  return time;
}

/**
 * @typedef {object} Showing
 * @property {number[]} exposures The measured exposure of each image in ms.
 * @property {number} onset When the last image appeared.
 */

/**
 * Show elements one after the other, each for the same exposure.
 * @returns {Promise<Showing>}
 */
export async function showInSequence(elements, ms) {
  const exposures = [];
  let onset = 0;
  await wait(GAP_MS);
  for (const element of elements) {
    onset = await nextFrame();
    exposures.push((await flash(element, onset, ms)) - onset);
    await wait(GAP_MS);
  }
  return { exposures, onset };
}

/**
 * Count down, show an image, and then masks.
 * @returns {Promise<Showing>}
 */
export async function showMasked(image, ms, stage) {
  const countdown = document.createElement("p");
  countdown.className = "countdown visible";
  countdown.setAttribute("aria-hidden", "true");
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const masks = Array.from({ length: reducedMotion ? 1 : MASKS }, () =>
    createMask(image.width, image.height),
  );
  stage.append(countdown, ...masks);
  for (const count of ["3", "2", "1"]) {
    countdown.textContent = count;
    await wait(COUNTDOWN_MS);
  }
  countdown.remove();
  const onset = await nextFrame();
  const end = await flash(image, onset, ms);
  let time = end;
  for (const mask of masks) time = await flash(mask, time, MASKS_MS / masks.length); // no gaps
  return { exposures: [end - onset], onset };
}

/**
 * Measure how large an image is shown.
 * @param {HTMLImageElement} image
 */
export function measureDisplay(image) {
  const { width, height } = image.getBoundingClientRect();
  const contained = Math.min(width, (height * image.naturalWidth) / image.naturalHeight);
  return {
    viewport_width: innerWidth,
    viewport_height: innerHeight,
    pixel_ratio: devicePixelRatio,
    image_width: contained * (window.visualViewport?.scale ?? 1),
  };
}

/** Draw coloured noise of all scales; coarse scales have more contrast. */
function createMask(width, height) {
  const canvas = createCanvas(width, height);
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  for (let columns = width; columns >= 3; columns = Math.floor(columns / 2)) {
    context.globalAlpha = columns === width ? 1 : 0.25;
    const noise = createNoise(columns, Math.ceil((columns * height) / width));
    context.drawImage(noise, 0, 0, width, height);
  }
  return canvas;
}

function createNoise(width, height) {
  const canvas = createCanvas(width, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < pixels.data.length; i++) {
    pixels.data[i] = i % 4 === 3 ? 255 : Math.random() * 256;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function createCanvas(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}
