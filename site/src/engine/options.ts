// Limits and checks of the options of a photo in colour, as of `photochrom.colorize.options`.

import { PhotoError } from "../types.ts";

/** The smallest side in px of a network's input. */
export const MIN_SIDE = 16;
/** The largest short side in px of a network's input. */
export const MAX_SIZE = 4096;
const RANGES = { saturation: [0, 4], strength: [0, 1], size: [MIN_SIDE, MAX_SIZE] } as const;

/** Throw `PhotoError` if a value is out of range; a size of null is the model's own. */
export function checkOptions(
  options: { saturation?: number; strength?: number; size?: number | null },
): void {
  for (const [name, [minimum, maximum]] of Object.entries(RANGES)) {
    const value = options[name as keyof typeof RANGES] ?? minimum;
    if (!(value >= minimum && value <= maximum)) {
      throw new PhotoError(`${name} is ${value}; it has to be from ${minimum} to ${maximum}`);
    }
  }
}
