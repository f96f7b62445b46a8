// Pictures on the screen for a set time, counted on animation frames.

const COUNT_MS = 500;
const GAP_MS = 250;
const MASK_MS = 30;
const MASKS = 4;
const LONGEST_FRAME_MS = 20; // longer ones are hiccups, not the screen's rate

const frame = () => new Promise(requestAnimationFrame);

/**
 * Wait for the frame that comes nearest to a time.
 * @param {number} from The time of a frame.
 * @param {number} ms How long after it.
 * @returns {Promise<number>} The time of the frame.
 */
async function after(from, ms) {
  let last = from;
  for (;;) {
    const now = await frame();
    if (now - from >= ms - Math.min(now - last, LONGEST_FRAME_MS) / 2) return now;
    last = now;
  }
}

/** Show an element for a time, and return for how long it was on the screen, in ms. */
async function flash(element, ms) {
  const from = await frame();
  element.classList.add("seen");
  const to = await after(from, ms);
  element.classList.remove("seen");
  return to - from;
}

/** Show some at once, to stay, and return when that was. */
export async function show(elements) {
  const from = await frame();
  for (const element of elements) element.classList.add("seen");
  return from;
}

/** Show one after the other, each for so long. */
export async function inTurn(elements, ms) {
  await after(await frame(), GAP_MS);
  for (const element of elements) {
    await flash(element, ms);
    await after(await frame(), GAP_MS);
  }
}

/**
 * Count down, show a picture, and then what wipes it from the eye.
 * @returns {Promise<number>} For how long it was on the screen, in ms.
 */
export async function briefly(image, ms, stage) {
  const number = document.createElement("p");
  number.className = "countdown seen";
  number.setAttribute("aria-hidden", "true");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const masks = Array.from({ length: calm ? 1 : MASKS }, () => noise(image.width, image.height));
  stage.append(number, ...masks);
  for (const left of ["3", "2", "1"]) {
    number.textContent = left;
    await after(await frame(), COUNT_MS);
  }
  number.remove();
  let from = await frame();
  image.classList.add("seen");
  const hidden = await after(from, ms);
  image.classList.remove("seen");
  const shown = hidden - from;
  from = hidden;
  for (const mask of masks) { // from frame to frame, with nothing in between
    mask.classList.add("seen");
    from = await after(from, (MASK_MS * MASKS) / masks.length);
    mask.classList.remove("seen");
  }
  return shown;
}

/** Draw coloured noise of all scales, the coarse ones a little stronger. */
function noise(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  for (let cells = width; cells >= 3; cells = Math.floor(cells / 2)) {
    context.globalAlpha = cells === width ? 1 : 0.25;
    context.drawImage(dots(cells, Math.ceil((cells * height) / width)), 0, 0, width, height);
  }
  return canvas;
}

function dots(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < pixels.data.length; i++) {
    pixels.data[i] = i % 4 === 3 ? 255 : Math.random() * 256;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}
