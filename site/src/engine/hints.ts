// Known colours of places: parsing, checks, and where they come to lie in the result.
// As photochrom.colorize.hints, with the same sentences.

import { PhotoError, type Hint, type PlacedHint } from "../types.ts";
import { CSS_COLORS } from "./css_colors.ts";
import { type Geometry, placeOf, resultSize } from "./geometry.ts";

/** Of one photo. */
export const MAX_HINTS = 200;

const SPECIAL_COLORS = ["original", "neutral"]; // the photo's own colour at the place, and grey
const MAX_PLACE = 999_999_999; // px; more than any photo has
const COLORS =
  "a CSS name such as firebrick, a hex colour such as #b22222, original or neutral";
const FORM = '[{"x": 410, "y": 220, "color": "firebrick"}]';

/**
 * Parse "x,y,color".
 *
 * @throws {PhotoError} If it has another form, or a value is not allowed.
 */
function parseHint(text: string): Hint {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.length !== 3 || !parts.slice(0, 2).every((part) => /^[0-9]{1,9}$/.test(part))) {
    throw new PhotoError(
      `the hint is ${repr(cut(text, 60))}; it has to be x,y,colour such as 410,220,firebrick, ` +
        "with x and y in whole pixels",
    );
  }
  return makeHint(Number(parts[0]), Number(parts[1]), parts[2]);
}

/**
 * Parse the hints of a query, "x,y,color;x,y,color".
 *
 * @throws {PhotoError} As `parseHint` and `checkHints`.
 */
export function hintsFromQuery(text: string): Hint[] {
  return checkHints(text.split(";").map(parseHint));
}

/**
 * Return the hints of a list of objects with `x`, `y` and `color`.
 *
 * @throws {PhotoError} If it has another form, there are too many, or a value is not allowed.
 */
export function hintsFromJson(values: unknown): Hint[] {
  if (!Array.isArray(values)) throw new PhotoError(`the hints have to be a list such as ${FORM}`);
  checkCount(values.length);
  for (const value of values) {
    const keys = isObject(value) ? Object.keys(value) : [];
    if (keys.includes("time")) {
      throw new PhotoError(
        `a hint is ${cut(toJson(value), 60)}; a time is for hints of a video, leave it out`,
      );
    }
    if (keys.sort().join() !== "color,x,y") {
      throw new PhotoError(
        `a hint is ${cut(toJson(value), 60)}; it has to have x, y and color, as in ${FORM}`,
      );
    }
  }
  return checkHints(values.map(({ x, y, color }) => makeHint(x, y, color)));
}

/**
 * Return hints unchanged.
 *
 * @param size Width and height in px of the upright photo; null: it is not known.
 * @throws {PhotoError} If there are more than `MAX_HINTS`, or one lies outside the photo.
 */
export function checkHints(hints: Hint[], size: [number, number] | null = null): Hint[] {
  checkCount(hints.length);
  if (!size) return hints;
  const [width, height] = size;
  for (const { x, y, color } of hints) {
    if (x >= width || y >= height) {
      throw new PhotoError(
        `the hint ${x},${y},${color} lies outside the photo of ${width}x${height} pixels; x has ` +
          `to be from 0 to ${width - 1}, y from 0 to ${height - 1}`,
      );
    }
  }
  return hints;
}

/**
 * Return where hints come to lie, without those that are cropped away.
 *
 * Of several hints at one pixel, the last counts.
 *
 * @param hints Hints inside of the photo.
 * @param size Width and height in px of the upright photo.
 * @param geometry How it is turned, straightened and cropped.
 * @throws {PhotoError} If the crop reaches out of the photo.
 */
export function placeHints(
  hints: Hint[],
  size: [number, number],
  geometry: Geometry,
): PlacedHint[] {
  const [width, height] = resultSize(geometry, ...size);
  const placed: PlacedHint[] = [];
  const byPixel = new Map(hints.map((hint) => [`${hint.x},${hint.y}`, hint]));
  for (const { x, y, color } of byPixel.values()) {
    const place = placeOf(geometry, x, y, ...size);
    if (place) placed.push({ x: place[0] / width, y: place[1] / height, color });
  }
  return placed;
}

/** Return red, green and blue of sRGB, 0 to 255, of a hint's colour; null: original or neutral. */
export function hintRgb(color: string): [number, number, number] | null {
  if (SPECIAL_COLORS.includes(color)) return null;
  const hex = (CSS_COLORS.get(color) ?? color).slice(1);
  const digits = hex.length === 3 ? [...hex].map((digit) => digit + digit) : hex.match(/../g)!;
  const [red, green, blue] = digits.map((pair) => parseInt(pair, 16));
  return [red, green, blue];
}

/** Return a hint whose values were checked. */
function makeHint(x: unknown, y: unknown, color: unknown): Hint {
  for (const [name, value] of Object.entries({ x, y })) {
    if (!Number.isInteger(value) || Number(value) < 0 || Number(value) > MAX_PLACE) {
      throw new PhotoError(
        `the hint's ${name} is ${cut(repr(value), 40)}; it has to be a whole number of pixels, ` +
          `from 0 to ${MAX_PLACE}`,
      );
    }
  }
  if (typeof color !== "string" || !isColor(color.toLowerCase())) {
    const text = typeof color === "string" ? color : repr(color);
    throw new PhotoError(`the hint's colour is ${repr(cut(text, 40))}; it has to be ${COLORS}`);
  }
  return { x: Number(x), y: Number(y), color: color.toLowerCase() };
}

function checkCount(count: number): void {
  if (count > MAX_HINTS) {
    throw new PhotoError(`there are ${count} hints; a photo takes up to ${MAX_HINTS}`);
  }
}

const isColor = (text: string): boolean =>
  /^#([0-9a-f]{3}|[0-9a-f]{6})$/.test(text) ||
  CSS_COLORS.has(text) ||
  SPECIAL_COLORS.includes(text);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const cut = (text: string, length: number): string => [...text].slice(0, length).join("");

/** Return a value of JSON as Python's `repr`. */
function repr(value: unknown): string {
  if (typeof value === "string") {
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
    const text = JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"');
    return quote + (quote === "'" ? text.replaceAll("'", "\\'") : text) + quote;
  }
  if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
  if (isObject(value)) {
    const items = Object.entries(value).map(([key, item]) => `${repr(key)}: ${repr(item)}`);
    return `{${items.join(", ")}}`;
  }
  return { true: "True", false: "False", null: "None" }[String(value)] ?? String(value);
}

/** Return a value as JSON, with a space after each comma and colon, as Python's `json.dumps`. */
function toJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toJson).join(", ")}]`;
  if (isObject(value)) {
    const items = Object.entries(value).map(([key, item]) => `${toJson(key)}: ${toJson(item)}`);
    return `{${items.join(", ")}}`;
  }
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
