// sRGB to CIELAB and back, of single colours, as of `photochrom.color.lab`.

import {
  f, fInverse, linearToSrgb, outputTablesOf, RGB_TO_XYZ, SRGB, srgbToLinear, WHITE,
} from "./color.ts";
import { chromaScale, isOutside, largestChroma } from "./gamut.ts";

/** Convert sRGB in [0, 1] to L*, a* and b*. */
export function rgbToLab(red: number, green: number, blue: number): [number, number, number] {
  const [r, g, b] = [srgbToLinear(red), srgbToLinear(green), srgbToLinear(blue)];
  const m = RGB_TO_XYZ;
  const x = f((m[0] * r + m[1] * g + m[2] * b) / WHITE[0]);
  const y = f((m[3] * r + m[4] * g + m[5] * b) / WHITE[1]);
  const z = f((m[6] * r + m[7] * g + m[8] * b) / WHITE[2]);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** Convert CIELAB to sRGB in [0, 1]. A colour outside sRGB loses chroma, not lightness or hue. */
export function labToRgb(L: number, a: number, b: number): [number, number, number] {
  const y = (L + 16) / 116;
  const m = outputTablesOf(SRGB).fromXyz;
  const linear = (scale: number): [number, number, number] => {
    const X = fInverse(y + (a / 500) * scale);
    const Y = fInverse(y);
    const Z = fInverse(y - (b / 200) * scale);
    return [
      m[0] * X + m[1] * Y + m[2] * Z,
      m[3] * X + m[4] * Y + m[5] * Z,
      m[6] * X + m[7] * Y + m[8] * Z,
    ];
  };
  let values = linear(1);
  if (isOutside(...values)) values = linear(chromaScale(largestChroma(SRGB), y, a / 500, b / 200));
  const [red, green, blue] = values.map((value) => clip(linearToSrgb(clip(value))));
  return [red, green, blue];
}

const clip = (value: number) => Math.min(Math.max(value, 0), 1);

/** Return a colour of CIELAB in sRGB, as "#rrggbb", as of `labToRgb`. */
export function labToHex(L: number, a: number, b: number): string {
  const hex = (value: number) => Math.round(value * 255).toString(16).padStart(2, "0");
  return `#${labToRgb(L, a, b).map(hex).join("")}`;
}
