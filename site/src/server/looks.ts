// Looks as the page sends them, as JSON or as a query; the counterpart of web/looks.py.

import { checkGeometry, resultSize } from "../engine/geometry.ts";
import { checkHints, hintsFromJson, hintsFromQuery } from "../engine/hints.ts";
import { noHintsError } from "../engine/network.ts";
import { MAX_SIZE, MIN_SIDE, checkOptions } from "../engine/options.ts";
import type { ModelChoice, PhotoInfo } from "../protocol.ts";
import { PhotoError } from "../types.ts";
import type { Look } from "../types.ts";

const MAX_NETWORK_PIXELS = 300_000; // as on the server; each takes about 1 kB of memory
const MAX_ASPECT_RATIO = 4;

export const DEFAULT_LOOK: Look = {
  saturation: 1,
  strength: 1,
  size: null,
  mark: true,
  model: "",
  turn: 0,
  straighten: 0,
  crop: null,
  format: null,
  truncated: false,
  hints: [],
};

type Key = keyof Look;

const KINDS: Record<Key, string> = {
  saturation: "a number",
  strength: "a number",
  size: "a whole number, or none for the model's own",
  mark: "true or false",
  model: "the name of a model",
  turn: "a whole number",
  straighten: "a number",
  crop: "left, top, width and height in whole pixels",
  format: "jpeg, or none for the format of the photo",
  truncated: "true or false",
  hints: "a list of hints",
};

const isNumber = (value: unknown) => typeof value === "number";
const isBoolean = (value: unknown) => typeof value === "boolean";
const isText = (value: unknown) => typeof value === "string";
const isRectangle = (value: unknown) =>
  Array.isArray(value) && value.length === 4 && value.every(Number.isInteger);

const CHECKS: Record<Key, (value: unknown) => boolean> = {
  saturation: isNumber,
  strength: isNumber,
  size: (value) => value === null || Number.isInteger(value),
  mark: isBoolean,
  model: isText,
  turn: Number.isInteger,
  straighten: isNumber,
  crop: (value) => value === null || isRectangle(value),
  format: (value) => value === null || isText(value),
  truncated: isBoolean,
  hints: Array.isArray,
};

/** Return the look of a query; other keys are ignored, and missing or empty values the defaults. */
export function lookFromQuery(query: URLSearchParams): Look {
  const values: Record<string, unknown> = {};
  for (const key of Object.keys(KINDS) as Key[]) {
    const text = query.get(key);
    if (text) values[key] = parse(key, text);
  }
  return validate(values);
}

function parse(key: Key, text: string): unknown {
  if (key === "hints") return hintsFromQuery(text);
  if (key === "crop") return text.split(",").map(parseNumber);
  if (key === "model" || key === "format") return text;
  if (text === "true" || text === "false") return text === "true";
  return parseNumber(text);
}

/** Return the number that a text is, any other text as it is. */
const parseNumber = (text: string): number | string =>
  text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);

/** Return a look with some values of JSON. */
export function changeLook(look: Look, changes: unknown): Look {
  const values = changes as Record<string, unknown>;
  const hints = "hints" in values ? { hints: hintsFromJson(values.hints) } : {};
  return validate({ ...look, ...values, ...hints });
}

function validate(values: Record<string, unknown>): Look {
  for (const [key, value] of Object.entries(values)) {
    if (!Object.hasOwn(KINDS, key)) {
      const keys = Object.keys(KINDS).join(", ");
      throw new PhotoError(`there is no option '${key.slice(0, 40)}'; it has to be one of ${keys}`);
    }
    if (!CHECKS[key as Key](value)) {
      const text = String(value).slice(0, 40);
      throw new PhotoError(`${key} is '${text}'; it has to be ${KINDS[key as Key]}`);
    }
  }
  return { ...DEFAULT_LOOK, ...values };
}

/** Return a look with the name of the model; throws if a value is out of range. */
export function checkLook(look: Look, model: ModelChoice): Look {
  checkOptions(look);
  checkGeometry(look);
  if (look.format !== null && look.format !== "jpeg") {
    const text = String(look.format).slice(0, 40);
    throw new PhotoError(`format is '${text}'; it has to be jpeg, or left out`);
  }
  if (look.model && look.model !== model.name) {
    const name = look.model.slice(0, 80);
    throw new PhotoError(`there is no model '${name}'; it has to be ${model.name}`);
  }
  if (look.hints.length && !model.takesHints) throw noHintsError(model.name);
  checkHints(look.hints, null);
  return { ...look, model: model.name };
}

/** Check a look for a photo: its hints, its crop, and the size of the network's input. */
export function checkFit(look: Look, { width, height }: PhotoInfo, modelSize: number): void {
  checkHints(look.hints, [width, height]);
  const [w, h] = resultSize(look, width, height);
  const largest = maxSize(w, h, modelSize);
  if (look.size === null || look.size <= largest) return;
  throw new PhotoError(
    `size is ${look.size}; for this photo of ${w}x${h} pixels it has to be from ${MIN_SIDE} to ` +
      `${largest}`,
  );
}

/** Return the largest `size` for a photo: its short side, within the limit of memory. */
export function maxSize(width: number, height: number, modelSize: number): number {
  const ratio = Math.min(MAX_ASPECT_RATIO, Math.max(width, height) / Math.min(width, height));
  const inMemory = Math.floor(Math.sqrt(MAX_NETWORK_PIXELS / ratio));
  return Math.max(modelSize, Math.min(MAX_SIZE, width, height, inMemory));
}

/** Return the part of a look that a prediction depends on, as a text. */
export const geometryKey = ({ truncated, turn, straighten, crop }: Look) =>
  [truncated, turn, straighten, crop?.join(",") ?? ""].join("/");
