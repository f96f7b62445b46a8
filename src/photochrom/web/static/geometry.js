// Geometry of a look, as in photochrom.imagefile.geometry: turned, then straightened, then cropped.
// A rectangle is [left, top, width, height] in px of the turned and straightened photo.

const TOLERANCE = 1e-6; // px, for rounding

/** Return width and height in px of a photo that is turned. */
export const turnedSize = ({ turn }, width, height) =>
  turn % 180 ? [height, width] : [width, height];

/** Return width and height in px of the result for the size of an upright photo. */
export function resultSize(look, width, height) {
  const [, , w, h] =
    look.crop ?? largestRectangle(...turnedSize(look, width, height), look.straighten);
  return [w, h];
}

/**
 * Return the place in the result for a place in the upright photo, both in px from the top left.
 *
 * The centre of the first pixel is 0.5, 0.5. The place may lie outside of the result.
 */
export function toResult(look, width, height, x, y) {
  const [w, h] = turnedSize(look, width, height);
  const turned = { 0: [x, y], 90: [w - y, x], 180: [w - x, h - y], 270: [y, h - x] }[look.turn];
  const [left, top] = look.crop ?? largestRectangle(w, h, look.straighten);
  const [a, b] = rotate(turned, [w / 2, h / 2], look.straighten);
  return [a - left, b - top];
}

/** Return the place in the upright photo for a place in the result; the inverse of `toResult`. */
export function toPhoto(look, width, height, x, y) {
  const [w, h] = turnedSize(look, width, height);
  const [left, top] = look.crop ?? largestRectangle(w, h, look.straighten);
  const [a, b] = rotate([x + left, y + top], [w / 2, h / 2], -look.straighten);
  return { 0: [a, b], 90: [b, w - a], 180: [w - a, h - b], 270: [h - b, a] }[look.turn];
}

/** Return a place turned clockwise around a centre. */
function rotate([x, y], [centreX, centreY], degrees) {
  const [cos, sin] = [Math.cos(radians(degrees)), Math.sin(radians(degrees))];
  const [dx, dy] = [x - centreX, y - centreY];
  return [centreX + cos * dx - sin * dy, centreY + sin * dx + cos * dy];
}

/** Return the largest centred rectangle of the photo's aspect ratio without empty corners. */
export function largestRectangle(width, height, angle) {
  const [cos, sin] = [Math.cos(radians(angle)), Math.abs(Math.sin(radians(angle)))];
  const scale = Math.min(
    width / (width * cos + height * sin),
    height / (width * sin + height * cos),
  );
  const [w, h] = [width, height].map((side) =>
    Math.max(1, Math.floor(scale * side + TOLERANCE)),
  );
  return [Math.floor((width - w) / 2), Math.floor((height - h) / 2), w, h];
}

/** Return whether a rectangle lies in the photo, and reaches into no empty corner. */
export function isInside([left, top, w, h], width, height, angle) {
  const [least, most] = [-TOLERANCE, TOLERANCE];
  if (left < least || top < least || left + w > width + most || top + h > height + most) {
    return false;
  }
  if (!angle) return true;
  const [cos, sin] = [Math.cos(radians(angle)), Math.sin(radians(angle))];
  for (const x of [left + 0.5 - width / 2, left + w - 0.5 - width / 2]) {
    for (const y of [top + 0.5 - height / 2, top + h - 0.5 - height / 2]) {
      const [a, b] = [width / 2 + cos * x + sin * y, height / 2 - sin * x + cos * y];
      if (a < least || a > width + most || b < least || b > height + most) return false;
    }
  }
  return true;
}

/** Return a rectangle at its place after the photo of a size is turned by 90 degrees clockwise. */
export const turnRectangle = ([left, top, w, h], _, height) => [height - top - h, left, h, w];

/**
 * Return the rectangle on the way from one to another that is farthest and fits.
 *
 * @param {(rectangle: number[]) => boolean} fits True for `from`; the shape that it describes has
 *   to be convex.
 */
export function advance(from, to, fits) {
  if (fits(to)) return to;
  const between = (part) => from.map((value, index) => value + part * (to[index] - value));
  let [good, bad] = [0, 1];
  for (let step = 0; step < 50; step++) {
    const middle = (good + bad) / 2;
    if (fits(between(middle))) good = middle;
    else bad = middle;
  }
  return between(good);
}

/** Return a rectangle of whole px for one that `fits`: the nearest inside of it. */
export function roundInwards([left, top, w, h], fits) {
  const round = (tolerance) => {
    const [x, y] = [left, top].map((value) => Math.ceil(value - tolerance));
    const [right, bottom] = [left + w, top + h].map((value) => Math.floor(value + tolerance));
    return [x, y, Math.max(1, right - x), Math.max(1, bottom - y)];
  };
  const rectangle = round(0.001); // a sum may be just below a whole number
  return fits(rectangle) ? rectangle : round(0);
}

const radians = (degrees) => (degrees * Math.PI) / 180;
