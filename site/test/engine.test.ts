import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ab, fFast, f, lightness, SRGB } from "../src/engine/color.ts";
import { networkSize } from "../src/engine/colorizer.ts";
import { differenceAtEqualLightness } from "../src/engine/difference.ts";
import { limitChroma } from "../src/engine/gamut.ts";
import {
  applyGeometry, type Geometry, originOf, placeOf, rectangleOf,
} from "../src/engine/geometry.ts";
import { applyProfile, ProfileError, readProfile, srgbProfile } from "../src/engine/icc.ts";
import { labToHex, rgbToLab } from "../src/engine/lab.ts";
import { downscale, inColor, render, renderRows, rowsOf } from "../src/engine/rendering.ts";
import {
  boxFilter, reflect, resizeArea, resizeLinear, resizePhotoArea, resizePhotoLinear,
} from "../src/engine/resize.ts";
import { fitLines } from "../src/engine/upsampling.ts";
import type { Photo, Planes } from "../src/types.ts";

// Written by make_expected_engine.py.
const expected = JSON.parse(
  readFileSync(new URL("expected/engine.json", import.meta.url), "utf8"),
);

/** Return cases for `it.each`, with their names. */
const named = (cases: any[], nameOf: (each: any) => string): [string, any][] =>
  cases.map((each) => [nameOf(each), each]);

const decode = (text: string) => new Uint8Array(Buffer.from(text, "base64"));

function makePhoto(pixels: string, width: number, height: number, changes = {}): Photo {
  const photo = { width, height, pixels: new Uint8ClampedArray(decode(pixels)), space: SRGB };
  return { ...photo, isGrey: false, hasAlpha: false, ...changes };
}

const makePlanes = (planes: Planes): Planes => ({
  ...planes,
  data: Float32Array.from(planes.data),
});

/** Return the largest difference of two lists of the same length. */
function difference(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(actual.length).toBe(wanted.length);
  let largest = 0;
  for (let i = 0; i < actual.length; i++) {
    const each = Math.abs(actual[i] - wanted[i]);
    largest = each > largest || Number.isNaN(each) ? each : largest;
  }
  return largest;
}

describe("colours", () => {
  const { colors } = expected;

  it.each(Object.keys(colors.spaces))("are those of photochrom in %s", (name) => {
    const { profile, L, ab: wantedAb, limited } = colors.spaces[name];
    const space = readProfile(decode(profile));
    const photo = makePhoto(colors.pixels, L.length, 1, { space });
    expect(difference(lightness(photo).data, L)).toBeLessThan(0.002);
    expect(difference(ab(photo).data, wantedAb)).toBeLessThan(0.01);
    const lab: number[][] = colors.lab;
    const flat = [1, 2].flatMap((axis) => lab.map((each) => each[axis]));
    const actual = limitChroma(space, lab.map((each) => each[0]), flat);
    expect(difference(actual, limited)).toBeLessThan(0.05);
  });

  it("convert from and to CIELAB", () => {
    const hex = colors.lab.map((lab: [number, number, number]) => labToHex(...lab));
    expect(hex).toEqual(colors.hex);
    const lab = colors.rgb.map((rgb: [number, number, number]) => rgbToLab(...rgb));
    expect(difference(lab.flat(), colors.rgbToLab.flat())).toBeLessThan(0.01);
  });

  it("differ by CIEDE2000", () => {
    const actual = colors.pairs.map((pair: [number, number, number, number]) =>
      differenceAtEqualLightness(...pair),
    );
    expect(difference(actual, colors.differences)).toBeLessThan(2e-4);
  });

  it("have f by a table", () => {
    const values = Array.from({ length: 5001 }, (_, i) => i / 4900 - 0.001);
    expect(difference(values.map(fFast), values.map(f))).toBeLessThan(5e-6);
  });
});

describe("resizing", () => {
  const { photos, planes } = expected.resizing;

  it.each(named(photos, (each) => `${each.width}x${each.height} to ${each.size.join("x")}`))(
    "of pixels of %s equals OpenCV's", (_name, each) => {
      const photo = makePhoto(each.pixels, each.width, each.height);
      const size = each.size as [number, number];
      expect(difference(resizePhotoArea(photo, ...size).pixels, decode(each.area))).toBe(0);
      expect(difference(resizePhotoLinear(photo, ...size).pixels, decode(each.linear))).toBe(0);
    },
  );

  it("of planes equals OpenCV's, and blurring too", () => {
    for (const each of planes) {
      const plane = makePlanes(each.planes);
      const [width, height] = each.size;
      expect(difference(resizeArea(plane, width, height).data, each.area)).toBeLessThan(2e-3);
      expect(difference(resizeLinear(plane, width, height).data, each.linear)).toBeLessThan(2e-3);
      expect(difference(boxFilter(plane, 1).data, each.box)).toBeLessThan(2e-3);
      expect(difference(boxFilter(plane, 2).data, each.widerBox)).toBeLessThan(2e-3);
    }
  });

  it("treats planes one by one", () => {
    const data = Float32Array.from({ length: 24 }, (_, i) => (i < 12 ? 1 : 2));
    const both = { count: 2, width: 4, height: 3, data };
    for (const result of [resizeArea(both, 2, 2), resizeLinear(both, 5, 7), boxFilter(both, 1)]) {
      const size = result.width * result.height;
      expect([...result.data]).toEqual([...Array(size).fill(1), ...Array(size).fill(2)]);
    }
  });

  it("reflects indices with the edge, again and again", () => {
    expect([-4, -3, -1, 0, 1, 2, 3, 4, 5].map((index) => reflect(index, 2))).toEqual(
      [0, 1, 0, 0, 1, 1, 0, 0, 1],
    );
  });
});

describe("geometry", () => {
  const [{ width, height, pixels }, ...cases] = expected.geometry;

  it.each(named(cases, (each) => JSON.stringify(each.look)))("%s", (_name, each) => {
    const look: Geometry = { ...each.look, straighten: Number(each.look.straighten) };
    const photo = makePhoto(pixels, width, height, { hasAlpha: each.hasAlpha });
    if (!each.hasAlpha) for (let p = 3; p < photo.pixels.length; p += 4) photo.pixels[p] = 255;
    if (each.error !== undefined) {
      expect(() => applyGeometry(photo, look)).toThrow(each.error.replace("nan", "NaN"));
      return;
    }
    expect(rectangleOf(look, width, height)).toEqual(each.rectangle);
    for (const [x, y, place] of each.places) {
      const actual = placeOf(look, x, y, width, height);
      expect(actual === null).toBe(place === null);
      if (actual !== null) expect(difference(actual, place)).toBeLessThan(1e-3);
    }
    for (const [x, y, column, row] of each.origins) {
      expect(originOf(look, x, y, width, height)).toEqual([column, row]);
    }
    const result = applyGeometry(photo, look);
    expect([result.width, result.height]).toEqual(each.rectangle.slice(2));
    const wanted = decode(each.result);
    expect(difference(result.pixels, wanted)).toBeLessThanOrEqual(look.straighten ? 1 : 0);
    const wrong = wanted.filter((value, i) => value !== result.pixels[i]).length;
    expect(wrong / wanted.length).toBeLessThan(0.02);
  });
});

describe("profiles", () => {
  it.each(named(expected.profiles, (each) => each.name))("%s", (_name, each) => {
    const profile = decode(each.profile);
    if (each.error !== undefined) {
      expect(() => readProfile(profile)).toThrow(ProfileError);
      return;
    }
    const space = readProfile(profile);
    expect(readProfile(profile.slice())).toBe(space);
    expect(space === SRGB).toBe(each.isSrgb);
    if (each.matrix === null) expect(space.matrix).toBeNull();
    else expect(difference(space.matrix!, each.matrix)).toBeLessThan(2e-4);
    const curve = space.curves.at(-1)!;
    const points = each.curve.map((_: number, i: number) => curve[i * Math.floor(65535 / 15)]);
    expect(difference(points, each.curve)).toBeLessThan(2e-5);
  });

  const profileOf = (name: string) =>
    decode(expected.profiles.find((each: any) => each.name === name).profile);
  const grey = makePhoto("gICA/4CAgP8=", 2, 1, { isGrey: true });
  const colored = makePhoto("gICB/4CAgP8=", 2, 1);

  it("make grey colour, and neutral colour grey", () => {
    expect(applyProfile(grey, profileOf("Adobe RGB")).photo.isGrey).toBe(false);
    expect(applyProfile({ ...grey, isGrey: false }, profileOf("grey")).photo.isGrey).toBe(true);
    expect(applyProfile(grey, null).photo).toEqual(grey);
    expect(applyProfile(grey, profileOf("photochrom's sRGB")).photo).toEqual(grey);
  });

  it.each([
    ["no profile", grey, "the colour profile is one for other channels"],
    ["CMYK", colored, "the colour profile is one for other channels"],
    [
      "an unknown curve",
      grey,
      "the colour profile cannot be used: the profile has a curve of an unknown type",
    ],
    ["grey", colored, "it is one for other channels"],
    ["a curve that is cut off", grey, "the colour profile cannot be used: a curve of the profile"],
    ["no matrix", colored, "the colour profile cannot be used: the profile is damaged"],
  ])("are dropped with a warning: %s", (name, photo, reason) => {
    const result = applyProfile(photo, profileOf(name));
    expect(result.warning).toContain(`the colour profile is dropped: ${reason}`);
    expect(result.photo.space).toBe(SRGB);
  });

  it.each(["tables", "a falling curve"])("are refused where the program takes them: %s", (name) => {
    const photo = name === "tables" ? colored : grey;
    expect(() => applyProfile(photo, profileOf(name))).toThrow(/use the program photochrom, or/);
  });

  it("of sRGB has the bytes of photochrom's", () => {
    expect(srgbProfile()).toEqual(profileOf("photochrom's sRGB"));
  });
});

describe("upsampling", () => {
  it("follows edges as photochrom's", () => {
    const { L, ab, lines, largeAb, largeLines } = expected.upsampling;
    const small = fitLines(makePlanes(L), makePlanes(ab));
    expect(difference(small.data, lines)).toBeLessThan(0.005);
    const large = fitLines(makePlanes(L), makePlanes(largeAb));
    expect(difference(large.data, largeLines)).toBeLessThan(0.005);
  });
});

describe("rendering", () => {
  const coefficients = makePlanes(expected.rendering.coefficients);
  const photoOf = (name: string) => {
    const { pixels, isGrey, profile } = expected.rendering.photos[name];
    const space = profile === null ? SRGB : readProfile(decode(profile));
    return makePhoto(pixels, 21, 16, { isGrey, space });
  };

  it.each(
    named(expected.rendering.cases, (each) => `${each.photo} with ${JSON.stringify(each.options)}`),
  )("of %s", (_name, each) => {
    const photo = photoOf(each.photo);
    const before = photo.pixels.slice();
    const result = render(photo, coefficients, each.options);
    const wanted = decode(each.pixels);
    expect(difference(result.pixels, wanted)).toBeLessThanOrEqual(1);
    const wrong = wanted.filter((value, i) => value !== result.pixels[i]).length;
    expect(wrong / wanted.length).toBeLessThan(0.02);
    expect(result.isGrey).toBe(false);
    expect(result.space.matrix).not.toBeNull();
    expect(photo.pixels).toEqual(before);
  });

  it("works in place on rows in any order, as on all of a photo", () => {
    const photo = photoOf("grey");
    const options = { saturation: 1.5, strength: 1 };
    const whole = render(photo, coefficients, options);
    renderRows(photo, coefficients, options, 9, 16);
    renderRows(photo, coefficients, options, 0, 9);
    expect(inColor(photo)).toEqual(whole);
    expect(rowsOf(photo, 9, 16).pixels).toEqual(whole.pixels.subarray(9 * 21 * 4));
  });

  it("keeps greys grey and alpha as it is", () => {
    const zero = { ...coefficients, data: new Float32Array(coefficients.data.length) };
    const pixels = Uint8ClampedArray.from({ length: 4 * 256 }, (_, i) =>
      i % 4 === 3 ? i % 251 : i >> 2,
    );
    const photo = { ...photoOf("srgb"), width: 16, height: 16, pixels };
    for (const space of [SRGB, photoOf("adobe").space, photoOf("prophoto").space]) {
      const result = render({ ...photo, space }, zero, { saturation: 1, strength: 1 });
      expect(result.pixels).toEqual(pixels);
    }
  });

  it("shows a smaller copy, never a larger one", () => {
    const photo = photoOf("srgb");
    expect(downscale(photo, 7)).toMatchObject({ width: 7, height: 5 });
    expect(downscale(photo, 100).pixels).toEqual(photo.pixels);
  });
});

describe("the network's input", () => {
  it("has the size of photochrom's", () => {
    for (const [width, height, w, h, short] of expected.sizes) {
      expect(networkSize(width, height, short)).toEqual([w, h]);
    }
  });
});
