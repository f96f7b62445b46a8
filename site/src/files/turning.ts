// What an orientation (EXIF 2.32, tag 274), a rotation and a crop do to positions in a photo.

import type { Rectangle } from "../types.ts";

/** Degrees clockwise to the orientation, as in EXIF, that asks for them. */
export const ORIENTATIONS: Record<number, number> = { 0: 1, 90: 6, 180: 3, 270: 8 };
/** Orientations for which x and y count from the other side, before they are exchanged. */
const FLIPS_X = [2, 3, 7, 8];
const FLIPS_Y = [3, 4, 6, 7];

export type Box = [number, number, number, number];

/** The change from a photo as it is stored to the upright one. */
export class Turn {
  constructor(
    /** 1 to 8. */
    readonly orientation: number,
    /** Of the pixels as they are stored. */
    readonly width: number,
    readonly height: number,
  ) {}

  /** Whether width and height are swapped. */
  get swapsSides(): boolean {
    return this.orientation >= 5;
  }

  /** Whether left and right are swapped, or top and bottom. */
  get isMirrored(): boolean {
    return [2, 4, 5, 7].includes(this.orientation);
  }

  /** Return left, top, width and height in the upright photo; `extents` are those of the photo. */
  moveBox([x, y, width, height]: Box, extents: readonly [number, number]): Box {
    const left = FLIPS_X.includes(this.orientation) ? extents[0] - x - width : x;
    const top = FLIPS_Y.includes(this.orientation) ? extents[1] - y - height : y;
    return this.swapsSides ? [top, left, height, width] : [left, top, width, height];
  }

  /** Return EXIF's SubjectArea in the upright photo; one outside of the photo as it is. */
  moveSubject(area: readonly number[]): number[] {
    const [x, y, ...size] = area;
    if (x >= this.width || y >= this.height) return [...area];
    const [left, top] = this.moveBox([x, y, 0, 0], [this.width - 1, this.height - 1]);
    return [left, top, ...(this.swapsSides ? size.reverse() : size)];
  }
}

/** The change from an upright photo to a rectangle of it, rotated around its centre. */
export class Crop {
  readonly left: number;
  readonly top: number;
  readonly newWidth: number;
  readonly newHeight: number;
  private readonly cos: number;
  private readonly sin: number;

  /**
   * @param width Of the photo, in px.
   * @param height Of the photo, in px.
   * @param angle Degrees clockwise by which the photo is rotated, on a canvas of its size.
   * @param rectangle In px of the rotated photo.
   */
  constructor(
    readonly width: number,
    readonly height: number,
    readonly angle: number,
    rectangle: Rectangle,
  ) {
    [this.left, this.top, this.newWidth, this.newHeight] = rectangle;
    this.cos = Math.cos((angle * Math.PI) / 180);
    this.sin = Math.sin((angle * Math.PI) / 180);
  }

  /** Return where a place is in the rectangle, maybe outside, all in px. */
  movePoint(x: number, y: number): [number, number] {
    const [a, b] = [x - this.width / 2, y - this.height / 2];
    return [
      this.cos * a - this.sin * b + this.width / 2 - this.left,
      this.sin * a + this.cos * b + this.height / 2 - this.top,
    ];
  }

  /** Tell whether a place from `movePoint` is in the rectangle. */
  contains(x: number, y: number): boolean {
    return x >= 0 && x <= this.newWidth && y >= 0 && y <= this.newHeight;
  }

  /**
   * Return a box in the rectangle, cut off at its sides, all in px; null if its centre is outside.
   *
   * It keeps its size around its centre, as it is rotated little.
   */
  moveBox([x, y, width, height]: Box): Box | null {
    const [a, b] = this.movePoint(x + width / 2, y + height / 2);
    if (!this.contains(a, b)) return null;
    const [left, top] = [Math.max(0, a - width / 2), Math.max(0, b - height / 2)];
    const right = Math.min(this.newWidth, a + width / 2);
    return [left, top, right - left, Math.min(this.newHeight, b + height / 2) - top];
  }

  /** Return EXIF's SubjectArea in the rectangle: a pixel and maybe a size; null: it is outside. */
  moveSubject(area: readonly number[]): number[] | null {
    const [x, y, ...size] = area;
    const [a, b] = this.movePoint(x + 0.5, y + 0.5).map(Math.floor);
    if (a < 0 || a >= this.newWidth || b < 0 || b >= this.newHeight) return null;
    const sides = [this.newWidth, this.newHeight];
    return [a, b, ...size.slice(0, 2).map((side, index) => Math.min(side, sides[index]))];
  }
}
