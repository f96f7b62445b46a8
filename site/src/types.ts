// The data that the modules of the engine pass to each other.

/** `count` images of floats, row by row, one after the other: shape (count, height, width). */
export interface Planes {
  count: number;
  width: number;
  height: number;
  data: Float32Array;
}

/** An RGB space of transfer curves and a matrix, or a grey space of one curve; sRGB is `SRGB`. */
export interface ColorSpace {
  /** Linear values of 65536 equally spaced pixel values: of red, green and blue, or of grey. */
  curves: Float32Array[];
  /** Linear values to linear sRGB, row by row, shape (3, 3), white to white; null: grey. */
  matrix: Float32Array | null;
}

/** Pixels of 8 bits. */
export interface Image {
  width: number;
  height: number;
  /** RGBA, row by row, not premultiplied: 4 * width * height. */
  pixels: Uint8ClampedArray;
}

/** A decoded photo, upright. */
export interface Photo extends Image {
  /** Whether the file has one channel, so that R = G = B. */
  isGrey: boolean;
  /** Whether any pixel is not opaque. */
  hasAlpha: boolean;
  space: ColorSpace;
}

/** A known colour of a place; `x` and `y` in px of the upright photo, before `turn`. */
export interface Hint {
  x: number;
  y: number;
  /** "#rrggbb", "neutral" or "original". */
  color: string;
}

/** A hint whose place is a fraction, 0 to 1, of the photo that is colorized. */
export interface PlacedHint {
  x: number;
  y: number;
  color: string;
}

/** Left, top, width and height in px. */
export type Rectangle = [number, number, number, number];

/** How a photo is made; looks.js of the page has the same keys. */
export interface Look {
  saturation: number;
  strength: number;
  /** Short side in px of the network's input; null: the model's own. */
  size: number | null;
  mark: boolean;
  model: string;
  turn: number;
  straighten: number;
  crop: Rectangle | null;
  format: "jpeg" | null;
  truncated: boolean;
  hints: Hint[];
}

/** A fault of a photo or an option, in one sentence for the user; `code` as of the server. */
export class PhotoError extends Error {
  constructor(
    message: string,
    readonly code: "truncated" | "too_large" | null = null,
  ) {
    super(message);
  }
}

/** A file that is not a colorization model, or a model with invalid output; one sentence. */
export class ModelError extends Error {}
