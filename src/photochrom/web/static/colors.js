// Colours of hints: their names in the page's language, and their values.

import { t } from "./texts.js";

const GREY_CHROMA = 0.02; // in Oklab, as what follows; below this a colour is grey
const DULL_CHROMA = 0.055;
const VIVID_CHROMA = 30; // in CIELAB
const DARK = 25; // L* below which hues can hardly be told apart
const BRIGHT = 50; // L* at which they can
// Each hue with the angle in degrees where it ends, and the lightness where it is neither dark nor
// light.
const HUES = [
  [15, "pink", 0.62, 0.86],
  [40, "red", 0.46, 0.72],
  [80, "orange", 0.58, 0.84],
  [114, "yellow", 0.72, 0.98],
  [132, "yellow_green", 0.58, 0.88],
  [164, "green", 0.5, 0.84],
  [214, "turquoise", 0.54, 0.86],
  [284, "blue", 0.42, 0.73],
  [316, "purple", 0.4, 0.7],
  [350, "magenta", 0.45, 0.76],
  [360, "pink", 0.62, 0.86],
];

const context = document.createElement("canvas").getContext("2d");

/** Return a CSS colour, such as "firebrick" or "#b22", as #rrggbb. */
export function toHex(color) {
  context.fillStyle = "#000000";
  context.fillStyle = color;
  return context.fillStyle;
}

/** Return the name of a CSS colour, or of `original` or `neutral`, such as "dark red". */
export function colorName(color) {
  if (color === "original") return t("color.original");
  if (color === "neutral") return t("color.grey");
  const [lightness, a, b] = toOklab(color);
  const chroma = Math.hypot(a, b);
  const { tone, name } = chroma < GREY_CHROMA ? greyOf(lightness) : hueOf(lightness, chroma, a, b);
  const text = t(`color.${name}`);
  return tone ? t(`color.tone.${tone}`, { color: text }) : text;
}

function greyOf(lightness) {
  if (lightness < 0.2) return { name: "black" };
  if (lightness > 0.97) return { name: "white" };
  if (lightness < 0.45) return { name: "grey", tone: "dark" };
  return { name: "grey", tone: lightness > 0.78 ? "light" : null };
}

function hueOf(lightness, chroma, a, b) {
  const hue = ((180 / Math.PI) * Math.atan2(b, a) + 360) % 360;
  let [, name, dark, light] = HUES.find(([end]) => hue < end);
  const isDull = chroma < DULL_CHROMA;
  // What has a name of its own where it is dark or dull.
  if (name === "pink" && lightness < 0.6) [name, dark, light] = ["red", 0.46, 0.72];
  if (name === "red" && lightness > 0.72) [name, dark, light] = ["pink", 0.62, 0.86];
  if (name === "magenta" && (lightness < 0.5 || chroma < 0.12)) {
    [name, dark, light] = ["purple", 0.4, 0.7];
  }
  if (hue > 35 && hue < 92 && chroma < 0.095 && lightness > 0.78) return { name: "beige" };
  const isBrown = lightness < 0.64 || chroma < 0.115;
  const firstBrown = lightness < 0.3 ? 36 : 32; // sRGB's darkest red has less chroma
  if ((name === "orange" || (hue > firstBrown && hue < 92 && chroma < 0.12)) && isBrown) {
    [name, dark, light] = ["brown", 0.42, 0.66];
  } else if (["yellow", "yellow_green"].includes(name) && lightness < 0.7) {
    [name, dark, light] = ["olive", 0.45, 0.7];
  }
  let tone = null;
  if (lightness < dark) tone = "dark";
  else if (isDull) tone = lightness > light - 0.1 ? "pale" : "greyish";
  else if (lightness > light) tone = "light";
  return { name, tone };
}

/** Return the L* of a CSS colour. */
export const lightnessOf = (color) => toLab(color)[0];

/**
 * Return a CSS colour as #rrggbb with which a picker starts: of the same hue, but neither so dark,
 * light or grey that another hue would look the same.
 */
export function toVivid(color) {
  const [lightness, a, b] = toLab(color);
  const chroma = Math.hypot(a, b);
  if (chroma > VIVID_CHROMA && lightness > 25 && lightness < 85) return toHex(color);
  const hue = Math.atan2(b, a);
  const vivid = Math.max(VIVID_CHROMA, chroma);
  return fitToSrgb(55, vivid * Math.cos(hue), vivid * Math.sin(hue));
}

/**
 * Return a CSS colour at another L* as #rrggbb, as it looks in a photo, which keeps its L*.
 *
 * Its chroma is reduced as far as sRGB needs.
 */
export function atLightness(color, lightness) {
  const [, a, b] = toLab(color);
  return fitToSrgb(lightness, a, b);
}

/**
 * Return a dark CSS colour as #rrggbb in brighter light, so that one can tell its hue.
 *
 * What is grey stays grey; what is not dark stays as it is.
 */
export function inBrightLight(color) {
  const lightness = lightnessOf(color);
  if (lightness < 1 || lightness >= DARK) return toHex(color);
  const linear = toLinear(color);
  const gain = Math.min(luminance(BRIGHT) / luminance(lightness), 1 / Math.max(...linear));
  return rgbToHex(linear.map((value) => encode(gain * value)));
}

/** Return a colour of CIELAB as #rrggbb, with its chroma reduced as far as sRGB needs. */
function fitToSrgb(lightness, a, b) {
  let [good, bad] = [0, 1];
  const rgbAt = (part) => fromLab(lightness, part * a, part * b);
  const fits = (rgb) => rgb.every((channel) => channel > -0.0005 && channel < 1.0005);
  if (fits(rgbAt(1))) good = 1;
  else {
    for (let step = 0; step < 12; step++) {
      const middle = (good + bad) / 2;
      if (fits(rgbAt(middle))) good = middle;
      else bad = middle;
    }
  }
  return rgbToHex(rgbAt(good));
}

/** Return red, green and blue, cut to 0 to 1, as #rrggbb. */
function rgbToHex(rgb) {
  const bytes = rgb.map((channel) => Math.round(255 * Math.min(1, Math.max(0, channel))));
  return `#${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Return the relative luminance, 0 to 1, of an L*. */
const luminance = (lightness) =>
  lightness > 8 ? ((lightness + 16) / 116) ** 3 : (lightness * 27) / 24389;

/** Return L*, a* and b* (D65) of a CSS colour. */
function toLab(color) {
  const [red, green, blue] = toLinear(color);
  const [x, y, z] = [
    (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047,
    0.2126729 * red + 0.7151522 * green + 0.072175 * blue,
    (0.0193339 * red + 0.119192 * green + 0.9503041 * blue) / 1.08883,
  ].map((value) => (value > 216 / 24389 ? Math.cbrt(value) : (value * 24389) / 27 / 116 + 4 / 29));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** Return red, green and blue in sRGB of L*, a* and b*; 0 to 1, or beyond if sRGB lacks the colour. */
function fromLab(lightness, a, b) {
  const middle = (lightness + 16) / 116;
  const [x, y, z] = [middle + a / 500, middle, middle - b / 200].map((value) =>
    value > 6 / 29 ? value ** 3 : (116 * (value - 4 / 29) * 27) / 24389,
  );
  const [X, Z] = [0.95047 * x, 1.08883 * z];
  return [
    3.2404542 * X - 1.5371385 * y - 0.4985314 * Z,
    -0.969266 * X + 1.8760108 * y + 0.041556 * Z,
    0.0556434 * X - 0.2040259 * y + 1.0572252 * Z,
  ].map(encode);
}

/** Return a channel of sRGB of linear light. */
const encode = (value) => (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055);

/** Return lightness, a and b of a CSS colour in Oklab, whose hues do not shift with chroma. */
function toOklab(color) {
  const [red, green, blue] = toLinear(color);
  const l = Math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue);
  const m = Math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue);
  const s = Math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

/** Return red, green and blue of a CSS colour as linear light, 0 to 1. */
function toLinear(color) {
  const value = parseInt(toHex(color).slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255].map((byte) => {
    const channel = byte / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
}
