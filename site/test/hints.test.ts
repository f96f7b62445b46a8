import { readFileSync } from "node:fs";
import { describe, expect, it, test } from "vitest";
import { SRGB } from "../src/engine/color.ts";
import type { Colorizer, PreparedPhoto } from "../src/engine/colorizer.ts";
import { isColored } from "../src/engine/detection.ts";
import { drawHints, propagateHints } from "../src/engine/hinting.ts";
import {
  checkHints,
  hintRgb,
  hintsFromJson,
  hintsFromQuery,
  placeHints,
} from "../src/engine/hints.ts";
import { filterMeanShift } from "../src/engine/mean_shift.ts";
import { roundHalfEven } from "../src/engine/numbers.ts";
import { distanceInside, labelFlatParts } from "../src/engine/regions.ts";
import { solveGrid } from "../src/engine/sparse.ts";
import { suggestColors } from "../src/engine/suggestions.ts";
import { hintVersions } from "../src/engine/versions.ts";
import { PhotoError, type Hint, type Look, type Photo, type Planes } from "../src/types.ts";

// Written by make_expected_hints.py, which has the same formulas.
const expected = JSON.parse(
  readFileSync(new URL("expected/hints.json", import.meta.url), "utf8"),
);

function makePlanes(
  count: number,
  width: number,
  height: number,
  valueAt: (plane: number, x: number, y: number) => number,
): Planes {
  const size = width * height;
  const data = Float32Array.from({ length: count * size }, (_, i) =>
    valueAt(Math.floor(i / size), i % width, Math.floor((i % size) / width)),
  );
  return { count, width, height, data };
}

function lightness(width: number, height: number): Planes {
  return makePlanes(1, width, height, (_, x, y) => {
    const soft = 45 + 12 * Math.sin(x / 7) + 8 * Math.cos(y / 5) + 3 * Math.sin(1.7 * x + 2.3 * y);
    return soft + (3 * x > width && 2 * y < height ? 25 : 0);
  });
}

function predict(L: Planes, known: Planes | null = null): Planes {
  const { width, height, data } = L;
  const size = width * height;
  const sums = [0, 1].map((plane) =>
    known?.data.subarray(plane * size, (plane + 1) * size).reduce((sum, value) => sum + value, 0),
  );
  return makePlanes(2, width, height, (plane, x, y) => {
    const i = y * width + x;
    const ab = plane
      ? 0.3 * (data[i] - 60) - (15 * y) / height
      : 0.4 * (data[i] - 40) + (20 * x) / width;
    if (!known) return ab;
    const asked = known.data[plane * size + i];
    return ab + 0.6 * known.data[2 * size + i] * (asked - ab) + (0.1 * sums[plane]!) / 49;
  });
}

function cloths(width: number, height: number): Planes {
  const isIn = (value: number, start: number, end: number): boolean =>
    start <= value && value < end;
  const bottom = height - Math.floor(height / 5);
  return makePlanes(1, width, height, (_, x, y) => {
    if (
      isIn(x, Math.floor(width / 8), Math.floor((3 * width) / 8)) &&
      isIn(y, Math.floor(height / 4), bottom)
    ) {
      return 50;
    }
    const isRight =
      isIn(x, Math.floor((5 * width) / 8), Math.floor((7 * width) / 8)) &&
      isIn(y, Math.floor(height / 3), bottom);
    return isRight ? 58 : 85;
  });
}

const sample = ({ count, width, height, data }: Planes): number[] => {
  const values = [];
  for (let plane = 0; plane < count; plane++) {
    for (let y = 0; y < height; y += 7) {
      for (let x = 0; x < width; x += 5) values.push(data[(plane * height + y) * width + x]);
    }
  }
  return values;
};

const attempt = (task: () => Hint[]): Hint[] | string => {
  try {
    return task();
  } catch (error) {
    if (error instanceof PhotoError) return error.message;
    throw error;
  }
};

const largestDifference = (first: ArrayLike<number>, second: ArrayLike<number>): number => {
  expect(first.length).toBe(second.length);
  return Array.from(first).reduce(
    (most, value, i) => Math.max(most, Math.abs(value - second[i])),
    0,
  );
};

describe("hints", () => {
  it.each(expected.queries as [string, unknown][])("parses the query %j", (text, hints) => {
    expect(attempt(() => hintsFromQuery(text))).toEqual(hints);
  });

  it.each(expected.lists as [unknown, unknown][])("parses the list %j", (value, hints) => {
    expect(attempt(() => hintsFromJson(value))).toEqual(hints);
  });

  it("refuses hints outside of the photo", () => {
    const hints = [{ x: 3, y: 7, color: "red" }];
    expect(attempt(() => checkHints(hints, [5, 7]))).toBe(expected.outside);
    expect(checkHints(hints, [5, 8])).toBe(hints);
  });

  it("knows colours by name and in hex", () => {
    expect(hintRgb("rebeccapurple")).toEqual([0x66, 0x33, 0x99]);
    expect(hintRgb("#0af")).toEqual([0, 0xaa, 0xff]);
    expect(hintRgb("original")).toBeNull();
  });

  it.each(expected.placed as { look: Look; places: number[][] }[])(
    "comes to lie where it belongs: $look",
    ({ look, places }) => {
      const at = [[0, 0], [40, 22], [79, 47], [13, 30], [40, 22]];
      const colors = ["firebrick", "neutral", "#00f", "gold", "seagreen"];
      const hints = at.map(([x, y], i) => ({ x, y, color: colors[i] }));
      const placed = placeHints(hints, [80, 48], look);
      expect(placed).toHaveLength(places.length);
      placed.forEach(({ x, y }, i) => {
        expect(x).toBeCloseTo(places[i][0], 8);
        expect(y).toBeCloseTo(places[i][1], 8);
      });
      expect(placed.some(({ color }) => color === "neutral")).toBe(false); // the last one counts
    },
  );
});

describe("colours of hints", () => {
  it.each(expected.hinted as Record<string, never>[])(
    "are those of Python at $width x $height px",
    ({ width, height, hasColor, hints, mask, known, ab }) => {
      const L = lightness(width, height);
      const own = hasColor
        ? makePlanes(2, width, height, (plane, x, y) => {
            const value = L.data[y * width + x];
            return plane ? 5 - value / 10 : value / 4;
          })
        : null;
      const look = { turn: 0, straighten: 0, crop: null };
      const drawn = drawHints(placeHints(hints, [width, height], look), L, own, SRGB);
      expect(drawn.mask.reduce((sum, value) => sum + value, 0)).toBe(mask);
      expect(largestDifference(sample(drawn.known), known)).toBeLessThan(0.05);
      const result = propagateHints(L, predict(L), predict(L, drawn.known), drawn);
      expect(largestDifference(sample(result), ab)).toBeLessThan(0.05);
    },
  );

  it("cannot be a grey photo's own", () => {
    const hint = { x: 0.5, y: 0.5, color: "original" };
    expect(() => drawHints([hint], lightness(9, 9), null, SRGB)).toThrow(
      "a hint asks for the photo's original colour, but this photo is grey and has none",
    );
  });
});

test("a linear system of a grid is solved exactly", () => {
  for (const [width, height] of [[1, 1], [1, 9], [23, 1], [30, 17], [16, 41]]) {
    const size = width * height;
    const link = (i: number, exists: boolean): number => (exists ? Math.sin(i) ** 6 + 1e-4 : 0);
    const right = Float64Array.from({ length: size }, (_, i) => link(i, i % width < width - 1));
    const below = Float64Array.from({ length: size }, (_, i) => link(7 * i, i < size - width));
    const diagonal = Float64Array.from({ length: size }, (_, i) => {
      const links = right[i] + (right[i - 1] ?? 0) + below[i] + (below[i - width] ?? 0);
      return links + (i % 11 ? 1e-4 : 100);
    });
    const x = Float64Array.from({ length: size }, (_, i) => Math.cos(3 * i));
    const at = (values: Float64Array, i: number): number => values[i] ?? 0;
    const product = x.map(
      (value, i) =>
        diagonal[i] * value -
        at(right, i - 1) * at(x, i - 1) -
        right[i] * at(x, i + 1) -
        at(below, i - width) * at(x, i - width) -
        below[i] * at(x, i + width),
    );
    const solution = product.slice();
    solveGrid(width, height, diagonal, right, below, [solution]);
    expect(largestDifference(solution, x)).toBeLessThan(1e-6);
  }
});

describe("suggestions", () => {
  const bright = lightness(60, 40);
  const photos: Record<string, Planes> = {
    photo: bright,
    dark: { ...bright, data: bright.data.map((value) => value / 30) },
    white: makePlanes(1, 60, 40, () => 99.5),
  };

  it.each(expected.suggestions as Record<string, never>[])(
    "are those of Python at $x, $y in $photo",
    ({ photo, x, y, colors }) => {
      const ab = predict(lightness(120, 80));
      const L = photos[photo];
      const prepared = { width: 600, height: 400, L, smallL: L, unhintedAb: ab, ownAb: null };
      expect(suggestColors(prepared, ab, x, y)).toEqual(colors);
    },
  );
});

interface VersionsCase {
  look: Look;
  size: [number, number];
  result: [number, number];
  hints: Hint[];
  versions: Hint[][];
}

describe("versions", () => {
  const colorizer = {
    predictAb: (L: Planes, known: Planes | null) => Promise.resolve(predict(L, known)),
  } as Partial<Colorizer> as Colorizer;
  const smallL = cloths(120, 90);
  const L = makePlanes(1, 240, 180, (_, x, y) => smallL.data[(y >> 1) * 120 + (x >> 1)]);

  it.each(expected.versions as VersionsCase[])(
    "are those of Python for $look and $hints",
    async ({ look, size, result: [width, height], hints, versions }) => {
      const unhintedAb = predict(smallL);
      const prepared: PreparedPhoto = { width, height, L, smallL, unhintedAb, ownAb: null };
      expect(await hintVersions(colorizer, prepared, hints, look, size)).toEqual(versions);
    },
  );

  it("are one if there is no room for more hints", async () => {
    const unhintedAb = predict(smallL);
    const prepared: PreparedPhoto = { width: 120, height: 90, L, smallL, unhintedAb, ownAb: null };
    const hints = Array.from({ length: 198 }, (_, x) => ({ x: x % 100, y: 0, color: "red" }));
    const look = expected.versions[0].look as Look;
    expect(await hintVersions(colorizer, prepared, hints, look, [120, 90])).toEqual([hints]);
  });
});

test("parts of an image are those of OpenCV", () => {
  const { width, height, image, filtered, labels, distances } = expected.meanShift;
  const result = filterMeanShift({ width, height, data: Uint8Array.from(image) }, 3, 18);
  expect(Array.from(result.data)).toEqual(filtered);
  const parts = labelFlatParts(result, 6);
  expect(Array.from(parts.labels)).toEqual(labels);
  const mask = parts.labels.map((label) => Math.min(label, 1));
  const inside = distanceInside(Uint8Array.from(mask), width, height);
  expect(largestDifference(inside, distances)).toBeLessThan(1e-3);
});

describe("detection", () => {
  function draw(width: number, height: number, spread: number, other: number): Photo {
    const pixels = new Uint8ClampedArray(4 * width * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const grey = 120 + 60 * Math.sin(x / 9) * Math.cos(y / 11);
        const [first, second] = [spread * Math.sin(x / 5), other * Math.cos(y / 4)];
        const color = [grey + 30 + first, grey + second, grey - 30 - first].map(roundHalfEven);
        pixels.set([...color, 255], 4 * (y * width + x));
      }
    }
    return { width, height, pixels, isGrey: false, hasAlpha: false, space: SRGB };
  }

  it.each(expected.detected as [number, number, number, number, boolean][])(
    "is that of Python for %i x %i px, with colours that differ by %i and %i",
    (width, height, spread, other, isInColor) => {
      const photo = draw(width, height, spread, other);
      expect(isColored(photo)).toBe(isInColor);
      expect(isColored({ ...photo, isGrey: true })).toBe(false);
    },
  );
});
