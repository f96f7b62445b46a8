// Positions in XMP: faces and other regions, crops, and sizes, for the upright photo.

import type { Box, Crop, Turn } from "../turning.ts";
import { type Edit, type Node, RDF, properties, remove, valueOf } from "./tree.ts";

const TIFF = "http://ns.adobe.com/tiff/1.0/";
const EXIF = "http://ns.adobe.com/exif/1.0/";
const CAMERA_RAW = "http://ns.adobe.com/camera-raw-settings/1.0/";
const IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/";
/** Properties that are swapped with the sides; the first two count the photo's pixels. */
const SIDES = [
  [`${TIFF}ImageWidth`, `${TIFF}ImageLength`],
  [`${EXIF}PixelXDimension`, `${EXIF}PixelYDimension`],
  [`${TIFF}XResolution`, `${TIFF}YResolution`],
  [`${CAMERA_RAW}CropWidth`, `${CAMERA_RAW}CropHeight`],
];
const CROP = ["CropLeft", "CropTop", "CropRight", "CropBottom"].map((name) => CAMERA_RAW + name);
const CROP_ANGLE = `${CAMERA_RAW}CropAngle`;
const ALL_OF_CROP = [
  ...[...CROP, ...SIDES[3], CROP_ANGLE],
  ...["HasCrop", "CropUnit", "CropUnits"].map((name) => CAMERA_RAW + name),
];
/** Namespaces of properties that do not fit a part of the photo, to what is said. */
const OF_WHOLE_PHOTOS: Record<string, string> = {
  "http://ns.google.com/photos/1.0/depthmap/": "the depth map in XMP is dropped",
  "http://ns.google.com/photos/1.0/panorama/": "the angles of the panorama in XMP are dropped",
};
/**
 * Regions given by their centre (MWG guidelines 2.0, section 5.9): their property, to the size of
 * the photo that they are for, the namespace of its sides, and that of a region's position.
 */
const REGIONS: ReadonlyMap<string, readonly [string, string, string]> = new Map([
  [
    "http://www.metadataworkinggroup.com/schemas/regions/Regions",
    [
      "http://www.metadataworkinggroup.com/schemas/regions/AppliedToDimensions",
      "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
      "http://ns.adobe.com/xmp/sType/Area#",
    ],
  ],
  [
    "http://ns.acdsee.com/regions/Regions",
    [
      "http://ns.acdsee.com/regions/AppliedToDimensions",
      "http://ns.acdsee.com/sType/Dimensions#",
      "http://ns.acdsee.com/sType/Area#",
    ],
  ],
]);
/** Microsoft's: left, top, width and height, between 0 and 1. */
const RECTANGLE = "http://ns.microsoft.com/photo/1.2/t/Region#Rectangle";
const ITEM = `${RDF}li`;
const BOUNDARY = `${IPTC}RegionBoundary`;
const SUBJECTS = [`${EXIF}SubjectArea`, `${EXIF}SubjectLocation`];

type Nodes = readonly (Node | undefined)[];
type Move = (packet: string, item: Node, crop: Crop) => Edit[] | null;

/** Return edits that give positions and sizes in the upright photo; invalid ones are kept. */
export function turnRegions(packet: string, root: Node, turn: Turn): Edit[] {
  const edits: Edit[] = [];
  const found = new Map<string, Node>();
  for (const node of properties(root)) {
    if (!found.has(node.name)) found.set(node.name, node);
    const regions = REGIONS.get(node.name);
    if (regions) {
      edits.push(...turnCentres(packet, node, turn, regions));
    } else if (SUBJECTS.includes(node.name)) {
      edits.push(...turnSubject(packet, node, turn));
    } else if (node.name === `${IPTC}ImageRegion`) {
      edits.push(...turnBoundaries(packet, node, turn));
    } else {
      for (const child of node.walk()) {
        if (child.name === RECTANGLE) edits.push(...turnRectangle(packet, child, turn));
      }
    }
  }
  for (const names of turn.swapsSides ? SIDES : []) {
    const [width, height] = names.map((name) => found.get(name));
    edits.push(...swap(packet, width, height));
    const isCount = SIDES.indexOf(names) < 2;
    if (isCount && !width !== !height)
      edits.push(...setAll([width, height], [turn.height, turn.width]));
  }
  const crop = CROP.map((name) => found.get(name));
  const numbers = readNumbers(packet, crop);
  if (numbers.length) {
    const [left, top, right, bottom] = numbers;
    const [x, y, w, h] = turn.moveBox([left, top, right - left, bottom - top], [1, 1]);
    edits.push(...setAll(crop, [x, y, x + w, y + h]));
  }
  const angle = found.get(CROP_ANGLE);
  if (angle && turn.isMirrored) {
    edits.push(...readNumbers(packet, [angle]).map((number) => set(angle, -number)));
  }
  return edits;
}

/**
 * Return edits that give positions and sizes after a crop, and what is lost, each a phrase.
 *
 * Invalid ones are kept, and those whose centre is cut off are removed.
 */
export function cropRegions(packet: string, root: Node, crop: Crop): [Edit[], string[]] {
  const edits: Edit[] = [];
  const lost = new Set<string>();
  const sides = new Map<string, number>();
  for (const [width, height] of SIDES.slice(0, 2)) {
    sides.set(width, crop.newWidth).set(height, crop.newHeight);
  }
  for (const node of properties(root)) {
    const side = sides.get(node.name);
    const ofWholePhoto = OF_WHOLE_PHOTOS[node.name.slice(0, node.name.lastIndexOf("/") + 1)];
    if (side !== undefined) {
      if (readNumbers(packet, [node]).length) edits.push(set(node, side));
    } else if (ALL_OF_CROP.includes(node.name) && node.end) {
      edits.push(remove(node));
      lost.add("the crop in the settings of Camera Raw is dropped");
    } else if (ofWholePhoto && node.end) {
      edits.push(remove(node));
      lost.add(ofWholePhoto);
    } else if (SUBJECTS.includes(node.name)) {
      edits.push(...cropItems(packet, [node], cropSubject, crop));
    } else if (node.name === `${IPTC}ImageRegion`) {
      edits.push(...cropItems(packet, outermost(node, ITEM), cropBoundaries, crop));
    } else {
      const regions = REGIONS.get(node.name);
      if (regions) edits.push(...cropDimensions(packet, node, crop, regions));
      edits.push(...cropItems(packet, outermost(node, ITEM), cropAreas, crop));
    }
  }
  return [edits, [...lost]];
}

/** Return the descendants of a name that are in no other one. */
function outermost(root: Node, name: string): Node[] {
  const found: Node[] = [];
  const nodes = root.children.toReversed();
  for (let node = nodes.pop(); node; node = nodes.pop()) {
    if (node.name === name) found.push(node);
    else nodes.push(...node.children.toReversed());
  }
  return found;
}

/** Return edits that move the positions in items, and remove those that are cut off (null). */
const cropItems = (packet: string, items: readonly Node[], move: Move, crop: Crop): Edit[] =>
  items.flatMap((item) => move(packet, item, crop) ?? (item.end ? [remove(item)] : []));

function cropDimensions(
  packet: string,
  regions: Node,
  crop: Crop,
  [dimensions, sides]: readonly [string, string, string],
): Edit[] {
  const size = regions.search(dimensions);
  const scales = { w: crop.newWidth / crop.width, h: crop.newHeight / crop.height };
  return Object.entries(scales).flatMap(([name, scale]) => {
    const side = size?.search(sides + name);
    return readNumbers(packet, [side]).map((number) => set(side!, Math.round(number * scale)));
  });
}

/** Move areas given by their centre, and Microsoft's rectangles. */
function cropAreas(packet: string, item: Node, crop: Crop): Edit[] | null {
  const edits: Edit[] = [];
  for (const node of item.walk()) {
    if (node.name === RECTANGLE) {
      const numbers = parseNumbers(valueOf(packet, node).split(","));
      if (numbers.length !== 4) continue;
      const box = cropBox(numbers as Box, crop, false);
      if (!box) return null;
      edits.push([node.valueStart, node.valueEnd, box.map(format).join(", ")]);
    }
    for (const [, , area] of REGIONS.values()) {
      const values = positionOf(node, area, ["x", "y", "w", "h"]);
      const numbers = readNumbers(packet, values);
      if (!numbers.length) continue;
      const isInPixels = isPixels(packet, node.find(`${area}unit`));
      const [x, y, w = 0, h = 0] = numbers;
      const box = cropBox([x - w / 2, y - h / 2, w, h], crop, isInPixels);
      if (!box) return null;
      edits.push(...setAll(values, [box[0] + box[2] / 2, box[1] + box[3] / 2, box[2], box[3]]));
      if (!isInPixels) edits.push(...cropLength(packet, node.find(`${area}d`), crop));
    }
  }
  return edits;
}

/** Move IPTC's boundaries: a rectangle, a circle, or the vertices of a polygon. */
function cropBoundaries(packet: string, item: Node, crop: Crop): Edit[] | null {
  const edits: Edit[] = [];
  for (const boundary of outermost(item, BOUNDARY)) {
    const isInPixels = isPixels(packet, boundary.search(`${IPTC}rbUnit`));
    const points: [Nodes, number, number][] = [];
    for (const node of boundary.walk()) {
      const values = positionOf(node, IPTC, ["rbX", "rbY", "rbW", "rbH"]);
      const numbers = readNumbers(packet, values);
      if (numbers.length === 4) {
        const box = cropBox(numbers as Box, crop, isInPixels);
        if (!box) return null;
        edits.push(...setAll(values, box));
      } else if (numbers.length === 2) {
        points.push([values, numbers[0], numbers[1]]);
      }
    }
    if (points.length) {
      const moved = cropPolygon(
        points.map(([, x, y]) => [x, y]),
        crop,
        isInPixels,
      );
      if (!moved) return null;
      points.forEach(([nodes], index) => edits.push(...setAll(nodes, moved[index])));
    }
    if (!isInPixels) edits.push(...cropLength(packet, boundary.search(`${IPTC}rbRx`), crop));
  }
  return edits;
}

function cropSubject(packet: string, subject: Node, crop: Crop): Edit[] | null {
  const items = [...subject.walk()].filter((node) => !node.children.length && node !== subject);
  const numbers = readNumbers(packet, items);
  if (numbers.length < 2 || numbers.length > 4 || Math.min(...numbers) < 0) return [];
  const area = crop.moveSubject(numbers.map(Math.trunc));
  return area && setAll(items, area);
}

/** Return edits of a length relative to the width of the photo. */
const cropLength = (packet: string, node: Node | undefined, crop: Crop): Edit[] =>
  readNumbers(packet, [node]).map((number) => set(node!, (number * crop.width) / crop.newWidth));

/** Return left, top, width and height after a crop, in px or relative; null if it is cut off. */
function cropBox(numbers: Box, crop: Crop, isInPixels: boolean): Box | null {
  const [old, fresh] = units(crop, isInPixels);
  const box = crop.moveBox(numbers.map((number, index) => number * old[index % 2]) as Box);
  return box && (box.map((value, index) => value / fresh[index % 2]) as Box);
}

/** Return vertices after a crop, at its sides if they are cut off; null if the middle is. */
function cropPolygon(
  points: readonly (readonly [number, number])[],
  crop: Crop,
  isInPixels: boolean,
): [number, number][] | null {
  const [old, fresh] = units(crop, isInPixels);
  const moved = points.map(([x, y]) => crop.movePoint(x * old[0], y * old[1]));
  const [middleX, middleY] = [0, 1].map((axis) => {
    const places = moved.map((point) => point[axis]);
    return (Math.min(...places) + Math.max(...places)) / 2;
  });
  if (!crop.contains(middleX, middleY)) return null;
  return moved.map(([x, y]) => [
    Math.min(Math.max(x, 0), crop.newWidth) / fresh[0],
    Math.min(Math.max(y, 0), crop.newHeight) / fresh[1],
  ]);
}

/** Return the px of a unit horizontally and vertically, before a crop and after it. */
const units = (crop: Crop, isInPixels: boolean): [[number, number], [number, number]] =>
  isInPixels
    ? [
        [1, 1],
        [1, 1],
      ]
    : [
        [crop.width, crop.height],
        [crop.newWidth, crop.newHeight],
      ];

function turnCentres(
  packet: string,
  regions: Node,
  turn: Turn,
  [dimensions, sides, area]: readonly [string, string, string],
): Edit[] {
  const edits: Edit[] = [];
  const size = regions.search(dimensions);
  if (size && turn.swapsSides) {
    const pair = [size.search(`${sides}w`), size.search(`${sides}h`)];
    const [w, h] = readNumbers(packet, pair);
    const order = Math.sign(w - h);
    if (order && order === -Math.sign(turn.width - turn.height)) return []; // for the upright photo
    edits.push(...swap(packet, pair[0], pair[1]));
  }
  for (const node of regions.walk()) {
    const values = positionOf(node, area, ["x", "y", "w", "h"]);
    const numbers = readNumbers(packet, values);
    if (!numbers.length) continue;
    const extents = extentsOf(packet, node.find(`${area}unit`), turn);
    const [x, y, w = 0, h = 0] = numbers;
    const [left, top] = turn.moveBox([x, y, 0, 0], extents);
    edits.push(...setAll(values, [left, top, ...(turn.swapsSides ? [h, w] : [w, h])]));
  }
  return edits;
}

function turnRectangle(packet: string, rectangle: Node, turn: Turn): Edit[] {
  const numbers = parseNumbers(valueOf(packet, rectangle).split(","));
  if (numbers.length !== 4) return [];
  const text = turn
    .moveBox(numbers as Box, [1, 1])
    .map(format)
    .join(", ");
  return [[rectangle.valueStart, rectangle.valueEnd, text]];
}

/** Turn IPTC's image regions (Photo Metadata Standard 2019.1): corners, centres, vertices. */
function turnBoundaries(packet: string, regions: Node, turn: Turn): Edit[] {
  return outermost(regions, BOUNDARY).flatMap((boundary) => {
    const unit = boundary.search(`${IPTC}rbUnit`);
    const extents = extentsOf(packet, unit, turn);
    const edits: Edit[] = [];
    for (const node of boundary.walk()) {
      const values = positionOf(node, IPTC, ["rbX", "rbY", "rbW", "rbH"]);
      const [x, y, w = 0, h = 0] = readNumbers(packet, values);
      if (y !== undefined) edits.push(...setAll(values, turn.moveBox([x, y, w, h], extents)));
    }
    const radius = boundary.search(`${IPTC}rbRx`); // relative to the width
    if (turn.swapsSides && !isPixels(packet, unit) && turn.height) {
      const scale = turn.width / turn.height;
      edits.push(...readNumbers(packet, [radius]).map((number) => set(radius!, number * scale)));
    }
    return edits;
  });
}

function turnSubject(packet: string, subject: Node, turn: Turn): Edit[] {
  const items = [...subject.walk()].filter((node) => !node.children.length && node !== subject);
  const numbers = readNumbers(packet, items);
  const isValid = numbers.length >= 2 && numbers.length <= 4 && Math.min(...numbers) >= 0;
  return isValid ? setAll(items, turn.moveSubject(numbers.map(Math.trunc))) : [];
}

/** Return the nodes of a position and a size, of the position alone if there is no size. */
function positionOf(node: Node, namespace: string, names: readonly string[]): Nodes {
  const values = names.map((name) => node.find(namespace + name));
  return values.slice(0, values.includes(undefined) ? 2 : 4);
}

/** Return width and height of the stored photo in a unit: `pixel`, or relative to them. */
const extentsOf = (packet: string, unit: Node | undefined, turn: Turn): [number, number] =>
  isPixels(packet, unit) ? [turn.width, turn.height] : [1, 1];

/** Tell whether positions are in a unit of pixels, and not relative to the photo. */
const isPixels = (packet: string, unit: Node | undefined): boolean =>
  unit !== undefined && valueOf(packet, unit).trim() === "pixel";

/** Exchange the values of a pair. */
function swap(packet: string, a: Node | undefined, b: Node | undefined): Edit[] {
  if (!a || !b) return [];
  const texts = [valueOf(packet, a), valueOf(packet, b)];
  if (texts.some((text) => text.includes("<"))) return [];
  return [
    [a.valueStart, a.valueEnd, texts[1]],
    [b.valueStart, b.valueEnd, texts[0]],
  ];
}

/** Return the numbers of nodes, none if not all are numbers. */
function readNumbers(packet: string, nodes: Nodes): number[] {
  const present = nodes.filter((node) => node !== undefined);
  const numbers = parseNumbers(present.map((node) => valueOf(packet, node)));
  return numbers.length === nodes.length ? numbers : [];
}

/** Return numbers of a sensible size, none if one is not. */
function parseNumbers(texts: readonly string[]): number[] {
  const isNumber = (text: string) =>
    text.length < 40 && /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/iu.test(text);
  if (!texts.every(isNumber)) return [];
  const numbers = texts.map(Number);
  return numbers.every((number) => Math.abs(number) < 1e9) ? numbers : [];
}

const setAll = (nodes: Nodes, numbers: readonly number[]): Edit[] =>
  nodes.flatMap((node, index) =>
    node && numbers[index] !== undefined ? [set(node, numbers[index])] : [],
  );

const set = (node: Node, number: number): Edit => [node.valueStart, node.valueEnd, format(number)];

/** Return a number with up to 9 decimals, without exponent. */
function format(number: number): string {
  const text = number.toFixed(9).replace(/\.?0+$/u, "");
  return text === "-0" ? "0" : text;
}
