// ICC profiles: curves and a matrix become a `ColorSpace`, as of `photochrom.color.icc`. Profiles
// of other kinds, which photochrom converts by littleCMS, are refused here.

import { type ColorSpace, PhotoError, type Photo } from "../types.ts";
import { CURVE_LENGTH, fInverse, SRGB } from "./color.ts";
import { determinant, invert, multiply } from "./matrix.ts";

/** Linear sRGB to the XYZ of profiles, which is relative to D50. */
const SRGB_D50 = [
  0.4360747, 0.3850649, 0.1430804, 0.2225045, 0.7168786, 0.0606169, 0.0139322, 0.0971045, 0.7141733,
];
/** Colour space of a profile to the number of its channels. */
const CHANNELS: Record<string, number> = { GRAY: 1, "RGB ": 3, CMYK: 4 };
const HEADER_SIZE = 128;
const ENTRY_SIZE = 12; // of the table of tags
const MAX_TAGS = 200;
const PARAMETER_COUNTS = [1, 3, 4, 5, 7]; // by type of a parametric curve
const TABLE_TAGS = ["A2B0", "A2B1", "A2B2", "D2B0", "D2B1", "D2B2", "D2B3"];

const MAX_KNOWN = 16;

/** The profiles that were read last, so that the same bytes have the same space and its tables. */
const known: { icc: Uint8Array; space: ColorSpace }[] = [];

/** A colour profile that is damaged, or of a kind that cannot be used. */
export class ProfileError extends Error {
  constructor(
    message: string,
    /** Whether no program can use it. */
    readonly isDamaged: boolean,
  ) {
    super(message);
  }
}

/**
 * Return a decoded photo in the colour space of its profile; null: sRGB.
 *
 * Grey with an RGB profile becomes RGB, neutral RGB with a grey profile becomes grey. A damaged
 * profile, or one for another number of channels, is dropped: the warning, a phrase, says so.
 *
 * Throws `PhotoError` if the profile is usable, but not here.
 */
export function applyProfile(
  photo: Photo, icc: Uint8Array | null,
): { photo: Photo; warning: string | null } {
  const drop = (reason: string) => ({
    photo: { ...photo, space: SRGB },
    warning: `the colour profile is dropped: ${reason}`,
  });
  if (icc === null) return { photo: { ...photo, space: SRGB }, warning: null };
  let space;
  try {
    space = readProfile(icc);
  } catch (error) {
    if (!(error instanceof ProfileError)) throw error;
    const channels = CHANNELS[ascii(icc, 16)];
    if (channels !== (photo.isGrey ? 1 : 3) && !(photo.isGrey && channels === 3)) {
      return drop("the colour profile is one for other channels");
    }
    if (error.isDamaged) return drop(`the colour profile cannot be used: ${error.message}`);
    throw new PhotoError(
      `the photo's colour profile cannot be used in a browser: ${error.message}; use the program ` +
        "photochrom, or convert the photo to sRGB",
    );
  }
  if (space === SRGB) return { photo: { ...photo, space: SRGB }, warning: null };
  const isGrey = space.matrix === null;
  if (isGrey && !photo.isGrey && !isNeutral(photo)) return drop("it is one for other channels");
  return { photo: { ...photo, isGrey, space }, warning: null };
}

/** Tell whether a photo is grey. */
function isNeutral({ pixels }: Photo): boolean {
  for (let p = 0; p < pixels.length; p += 4) {
    if (pixels[p] !== pixels[p + 1] || pixels[p] !== pixels[p + 2]) return false;
  }
  return true;
}

/**
 * Read a grey profile, or an RGB profile of curves and a matrix.
 *
 * Follows ICC.1:2022, sections 10.6 (curveType), 10.18 (parametricCurveType) and 10.31 (XYZType).
 *
 * @returns The same space for the same bytes; `SRGB` if it differs by rounding only.
 *
 * Throws `ProfileError` if the profile is of another kind, or damaged.
 */
export function readProfile(icc: Uint8Array): ColorSpace {
  const isSame = (other: Uint8Array) =>
    other.length === icc.length && other.every((byte, i) => byte === icc[i]);
  let found = known.find((each) => isSame(each.icc));
  if (found === undefined) {
    found = { icc: icc.slice(), space: parse(icc) };
    known.push(found);
    if (known.length > MAX_KNOWN) known.shift();
  }
  return found.space;
}

function parse(icc: Uint8Array): ColorSpace {
  const tags = readTags(icc);
  const [kind, connection] = [ascii(icc, 16), ascii(icc, 20)];
  const hasTables = TABLE_TAGS.some((name) => tags.has(name));
  try {
    if (kind === "GRAY" && (connection === "XYZ " || connection === "Lab ")) {
      const curve = Float32Array.from(readCurve(tags.get("kTRC")));
      const grey = connection === "XYZ " ? curve : curve.map((L) => fInverse((L * 100 + 16) / 116));
      return { curves: [grey], matrix: null };
    }
    if (kind !== "RGB " || connection !== "XYZ ") {
      throw new ProfileError(
        `the profile converts '${kind}' to '${connection}', not RGB to XYZ`, true,
      );
    }
    const curves = readCurves(["rTRC", "gTRC", "bTRC"].map((name) => tags.get(name)));
    return rgbSpace(curves, ["rXYZ", "gXYZ", "bXYZ"].map((name) => readXyz(tags.get(name))));
  } catch (error) {
    if (error instanceof ProfileError) {
      throw new ProfileError(error.message, error.isDamaged && !hasTables); // tables come first
    }
    if (!(error instanceof RangeError)) throw error;
    throw new ProfileError("the profile is damaged, or has no curves or no matrix", !hasTables);
  }
}

/** Return the space of curves and the columns of a matrix. */
function rgbSpace(curves: Float32Array[], columns: number[][]): ColorSpace {
  const toXyz = Float64Array.from({ length: 9 }, (_, i) => columns[i % 3][Math.floor(i / 3)]);
  const matrix = multiply(invert(SRGB_D50), toXyz);
  const whites = [0, 3, 6].map((row) => matrix[row] + matrix[row + 1] + matrix[row + 2]);
  if (!(Math.min(...whites) >= 0.5) || !(Math.abs(determinant(matrix)) >= 1e-3)) {
    throw new ProfileError("the matrix of the profile is not plausible", false);
  }
  // White to white exactly.
  const scaled = Float32Array.from(matrix, (value, i) => value / whites[Math.floor(i / 3)]);
  return isSrgb(curves, scaled) ? SRGB : { curves, matrix: scaled };
}

/** Tell whether a space differs from sRGB by less than half a level of 8 bits. */
function isSrgb(curves: Float32Array[], matrix: Float32Array): boolean {
  const identity = SRGB.matrix as Float32Array;
  if (matrix.some((value, i) => Math.abs(value - identity[i]) >= 0.005)) return false;
  const [srgb] = SRGB.curves;
  return curves.every((curve) => {
    let place = 0; // in sRGB's curve, up to the value of `curve`
    return curve.every((linear, i) => {
      while (place + 1 < CURVE_LENGTH && srgb[place + 1] <= linear) place++;
      const step = place + 1 < CURVE_LENGTH ? srgb[place + 1] - srgb[place] : 1;
      const same = place + (linear - srgb[place]) / step;
      return Math.abs(same - i) < 0.002 * (CURVE_LENGTH - 1);
    });
  });
}

/** Return four bytes as text. */
const ascii = (icc: Uint8Array, start: number) =>
  String.fromCharCode(...icc.subarray(start, start + 4));

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

function readTags(icc: Uint8Array): Map<string, Uint8Array> {
  if (ascii(icc, 36) !== "acsp") throw new ProfileError("it is not an ICC profile", true);
  const tags = new Map<string, Uint8Array>();
  try {
    const count = Math.min(view(icc).getUint32(HEADER_SIZE), MAX_TAGS);
    for (let entry = 0; entry < count; entry++) {
      const place = HEADER_SIZE + 4 + ENTRY_SIZE * entry;
      const start = view(icc).getUint32(place + 4);
      const size = view(icc).getUint32(place + 8);
      tags.set(ascii(icc, place), icc.subarray(start, start + size));
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ProfileError("the profile is damaged, or has no curves or no matrix", true);
  }
  return tags;
}

/** Return the three numbers of a tag; throws `RangeError` if it is missing or cut off. */
function readXyz(tag: Uint8Array | undefined): number[] {
  return [8, 12, 16].map((place) => view(tag ?? new Uint8Array()).getInt32(place) / 65536);
}

/** Return curves; those of the same bytes are the same array. */
function readCurves(tags: (Uint8Array | undefined)[]): Float32Array[] {
  const made = new Map<string, Float32Array>();
  return tags.map((tag) => {
    const key = String(tag);
    const curve = made.get(key) ?? Float32Array.from(readCurve(tag));
    made.set(key, curve);
    return curve;
  });
}

/**
 * Return the linear values of `CURVE_LENGTH` pixel values.
 *
 * Throws `ProfileError` if the curve is damaged or not rising, `RangeError` if it is missing or cut
 * off.
 */
function readCurve(tag: Uint8Array = new Uint8Array()): Float64Array {
  const data = view(tag);
  let at: (value: number) => number;
  const type = ascii(tag, 0);
  if (type === "curv") {
    const count = data.getUint32(8);
    if (count > 1 && tag.length < 12 + 2 * count) {
      throw new ProfileError("a curve of the profile is cut off", true);
    }
    if (count === 0) at = (value) => value;
    else if (count === 1) {
      const exponent = data.getUint16(12) / 256;
      at = (value) => value ** exponent;
    } else at = tableCurve(data, count);
  } else if (type === "para") at = parametricCurve(data);
  else if (tag.length === 0) throw new RangeError("there is no curve");
  else throw new ProfileError("the profile has a curve of an unknown type", true);
  const curve = Float64Array.from({ length: CURVE_LENGTH }, (_, i) =>
    Math.min(Math.max(at(i / (CURVE_LENGTH - 1)), 0), 1),
  );
  // A comparison with NaN is false.
  const rises = curve.every((value, i) => (i === 0 ? value >= 0 : value >= curve[i - 1]));
  if (!rises || curve[0] === curve[CURVE_LENGTH - 1]) {
    throw new ProfileError("a curve of the profile does not rise", false);
  }
  return curve;
}

/** Return the function that interpolates between equally spaced points of 16 bits. */
function tableCurve(data: DataView, count: number): (value: number) => number {
  const point = (index: number) => data.getUint16(12 + 2 * index) / 65535;
  return (value) => {
    const place = value * (count - 1);
    const index = Math.min(Math.floor(place), count - 2);
    return point(index) + (place - index) * (point(index + 1) - point(index));
  };
}

function parametricCurve(data: DataView): (value: number) => number {
  const type = data.getUint16(8);
  const count = PARAMETER_COUNTS[type];
  if (count === undefined) {
    throw new ProfileError("the profile has a curve of an unknown type", true);
  }
  const values = Array.from({ length: 7 }, (_, i) =>
    i < count ? data.getInt32(12 + 4 * i) / 65536 : 0,
  );
  const [g, a, b, c, d, e, f] = values;
  const power = (value: number) => Math.max((type === 0 ? 1 : a) * value + b, 0) ** g;
  // Types 0 to 2 have no linear segment; c is added.
  if (type < 3) return (value) => power(value) + c;
  return (value) => (value >= d ? power(value) + e : c * value + f);
}

/** Return a profile of sRGB: that which photochrom writes. */
export function srgbProfile(): Uint8Array {
  const text = [
    "AAACTGxjbXMEQAAAbW50clJHQiBYWVogB+oAAQABAAAAAAAAYWNzcEFQUEwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AAAPbWAAEAAAAA0y1sY21zAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAALZGVz",
    "YwAAAQgAAAA2Y3BydAAAAUAAAABMd3RwdAAAAYwAAAAUY2hhZAAAAaAAAAAsclhZWgAAAcwAAAAUYlhZWgAAAeAAAA",
    "AUZ1hZWgAAAfQAAAAUclRSQwAAAggAAAAgZ1RSQwAAAggAAAAgYlRSQwAAAggAAAAgY2hybQAAAigAAAAkbWx1YwAA",
    "AAAAAAABAAAADGVuVVMAAAAaAAAAHABzAFIARwBCACAAYgB1AGkAbAB0AC0AaQBuAABtbHVjAAAAAAAAAAEAAAAMZW",
    "5VUwAAADAAAAAcAE4AbwAgAGMAbwBwAHkAcgBpAGcAaAB0ACwAIAB1AHMAZQAgAGYAcgBlAGUAbAB5WFlaIAAAAAAA",
    "APbWAAEAAAAA0y1zZjMyAAAAAAABDEIAAAXe///zJQAAB5MAAP2Q///7of///aIAAAPcAADAblhZWiAAAAAAAABvoA",
    "AAOPUAAAOQWFlaIAAAAAAAACSfAAAPhAAAtsNYWVogAAAAAAAAYpcAALeHAAAY2XBhcmEAAAAAAAMAAAACZmYAAPKn",
    "AAANWQAAE9AAAApbY2hybQAAAAAAAwAAAACj1wAAVHsAAEzNAACZmgAAJmYAAA9c",
  ].join("");
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
