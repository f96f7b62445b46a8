// Photoshop's image resources, which hold IPTC, paths and more.
//
// Follows Adobe's Photoshop File Formats Specification (2019), sections "Image Resource Blocks" and
// "Path resource format".

import { roundHalfEven } from "../engine/numbers.ts";
import { type Bytes, join, pack32, u16, u32 } from "./bytes.ts";
import type { Crop, Turn } from "./turning.ts";

export const IPTC = 0x0404;

const [RESOLUTION, GUIDES, WORKING_PATH] = [1005, 1032, 1025];
const THUMBNAILS = [1033, 1036];
const KNOTS = [1, 2, 4, 5]; // selectors of the records of a path that hold points
const FRACTION = 2 ** 24; // width and height of the photo in a path
const GUIDE_STEPS = 32; // positions of guides in a pixel

interface Resource {
  /** -1: a damaged rest. */
  number: number;
  block: Bytes;
  content: Bytes;
}

const isPath = (number: number) => number === WORKING_PATH || (number >= 2000 && number <= 2997);
const fits32 = (number: number) => number >= -(2 ** 31) && number < 2 ** 31;

/** Return the image resources, the last of which is what remains, maybe nothing. */
export function readResources(data: Bytes): Resource[] {
  const resources: Resource[] = [];
  let offset = 0;
  while (offset + 12 <= data.length) {
    const nameLength = data[offset + 6];
    const start = offset + 6 + nameLength + 2 - (nameLength % 2) + 4;
    const size = u32(data, start - 4);
    const end = start + size + (size % 2);
    if (start + size > data.length) break;
    const block = data.subarray(offset, end);
    resources.push({
      number: u16(data, offset + 4),
      block,
      content: data.subarray(start, start + size),
    });
    offset = end;
  }
  const rest = data.subarray(offset);
  return [...resources, { number: -1, block: rest, content: rest.subarray(0, 0) }];
}

/** Return the IPTC in image resources, null if there is none. */
export function findIptc(data: Bytes): Bytes | null {
  return readResources(data).find(({ number }) => number === IPTC)?.content ?? null;
}

/** Return image resources for the upright photo: paths and guides turned, no thumbnails. */
export function makeUpright(data: Bytes, turn: Turn): Bytes {
  return join(
    readResources(data)
      .filter(({ number }) => !THUMBNAILS.includes(number))
      .map(({ number, block, content }) => {
        if (number === RESOLUTION && turn.swapsSides && content.length === 16) {
          return replaceContent(
            block,
            content,
            join([content.subarray(8), content.subarray(0, 8)]),
          );
        }
        if (isPath(number)) return replaceContent(block, content, turnPath(content, turn));
        return number === GUIDES
          ? replaceContent(block, content, turnGuides(content, turn))
          : block;
      }),
  );
}

/** Return image resources with paths and guides moved, and what is lost, each a phrase. */
export function crop(data: Bytes, crop: Crop): [Bytes, string[]] {
  const blocks: Uint8Array[] = [];
  const lost: string[] = [];
  for (const { number, block, content } of readResources(data)) {
    let moved: Bytes | null = null;
    if (isPath(number)) {
      moved = cropPath(content, crop);
      if (!moved) lost.push("a path of Photoshop is dropped: it reaches too far out of the photo");
    } else if (number === GUIDES) {
      moved = crop.angle ? null : cropGuides(content, crop);
      if (!moved) lost.push("the guides of Photoshop are dropped: the photo is straightened");
    } else {
      blocks.push(block);
    }
    if (moved) blocks.push(replaceContent(block, content, moved));
  }
  return [join(blocks), lost];
}

function replaceContent(block: Bytes, content: Bytes, replacement: Bytes): Bytes {
  const header = block.subarray(0, content.byteOffset - block.byteOffset - 4);
  const padding = new Uint8Array(replacement.length % 2);
  return join([header, pack32(replacement.length), replacement, padding]);
}

/**
 * Move the points of a path: records of 26 bytes, those of a knot with three points.
 *
 * @returns The path, and whether all points fit into it; a knot with one that does not stays.
 */
function movePath(
  content: Bytes,
  move: (x: number, y: number) => readonly number[],
): [Bytes, boolean] {
  const output = content.slice();
  const view = new DataView(output.buffer);
  let fits = true;
  for (let start = 0; start + 26 <= content.length; start += 26) {
    if (!KNOTS.includes(u16(content, start))) continue;
    const places = [start + 2, start + 10, start + 18];
    const moved = places.flatMap((at) => {
      const [x, y] = move(view.getInt32(at + 4), view.getInt32(at));
      return [y, x];
    });
    if (moved.every(fits32)) {
      moved.forEach((number, index) => view.setInt32(start + 2 + 4 * index, number));
    } else {
      fits = false;
    }
  }
  return [output, fits];
}

function turnPath(content: Bytes, turn: Turn): Bytes {
  const extents = [FRACTION, FRACTION] as const;
  return movePath(content, (x, y) => turn.moveBox([x, y, 0, 0], extents))[0];
}

/** Move the points of a path, which may lie outside; null if one is too far out. */
function cropPath(content: Bytes, crop: Crop): Bytes | null {
  const [path, fits] = movePath(content, (x, y) => {
    const place = [(x * crop.width) / FRACTION, (y * crop.height) / FRACTION] as const;
    const [a, b] = crop.movePoint(...place);
    return [
      roundHalfEven((a * FRACTION) / crop.newWidth),
      roundHalfEven((b * FRACTION) / crop.newHeight),
    ];
  });
  return fits ? path : null;
}

/** Turn guides: a header of 16 bytes, then position and direction (0: vertical) of each. */
function turnGuides(content: Bytes, turn: Turn): Bytes {
  const output = content.slice();
  const view = new DataView(output.buffer);
  const extents = [turn.width * GUIDE_STEPS, turn.height * GUIDE_STEPS] as const;
  for (let start = 16; start + 5 <= content.length; start += 5) {
    const place = view.getInt32(start);
    const [x, y] = turn.moveBox([place, place, 0, 0], extents);
    const isVertical = (content[start + 4] === 0) !== turn.swapsSides;
    const position = isVertical ? x : y;
    if (fits32(position)) {
      view.setInt32(start, position);
      output[start + 4] = isVertical ? 0 : 1;
    }
  }
  return output;
}

/** Move guides, and leave out those that are cut off. */
function cropGuides(content: Bytes, crop: Crop): Bytes {
  if (content.length < 16) return content;
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const guides: Bytes[] = [];
  for (let start = 16; start + 5 <= content.length; start += 5) {
    const isVertical = content[start + 4] === 0;
    const position = view.getInt32(start) - GUIDE_STEPS * (isVertical ? crop.left : crop.top);
    const extent = GUIDE_STEPS * (isVertical ? crop.newWidth : crop.newHeight);
    if (position >= 0 && position <= extent) {
      guides.push(join([pack32(position), content.subarray(start + 4, start + 5)]));
    }
  }
  return join([content.subarray(0, 12), pack32(guides.length), ...guides]);
}
