// The density of a photo's pixels.

import { roundHalfEven } from "../engine/numbers.ts";

const METRES: Record<string, number> = { m: 1, cm: 0.01, inch: 0.0254 };

/** Pixels horizontally and vertically per unit; unit "": their ratio alone. */
export type Density = readonly [number, number, "" | "inch" | "cm" | "m"];

/** Return a density in integers per unit, or as a ratio; null if there is none in range. */
export function convertDensity(
  density: Density | null,
  unit: "inch" | "cm" | "m",
  maximum: number,
): Density | null {
  if (density === null) return null;
  const [x, y, oldUnit] = density;
  const scale = oldUnit ? METRES[unit] / METRES[oldUnit] : 1;
  const [across, down] = [roundHalfEven(x * scale), roundHalfEven(y * scale)];
  if (Math.min(across, down) < 1 || Math.max(across, down) > maximum) return null;
  return [across, down, oldUnit ? unit : ""];
}
