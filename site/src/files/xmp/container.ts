// What XMP says of further images and of a video in the file: gain maps, motion photos.
//
// Follows Google's Ultra HDR Image Format and Motion Photo format.

import type { Bytes } from "../bytes.ts";
import {
  type Node,
  RDF,
  applyEditsToBytes,
  parse,
  properties,
  remove,
  toUtf8,
  valueOf,
} from "./tree.ts";

export const GAIN_MAP_NAMESPACES = [
  "http://ns.adobe.com/hdr-gain-map/1.0/",
  "http://ns.apple.com/HDRGainMap/1.0/",
];
const CONTAINER = "http://ns.google.com/photos/1.0/container/";
const CAMERA = "http://ns.google.com/photos/1.0/camera/";
const VIDEO = [`${CAMERA}MotionPhoto`, `${CAMERA}MicroVideo`];

/** Return the packet of a file from which all further images are dropped, or the video. */
export function dropContained(bytes: Bytes, drops: { images: boolean; video: boolean }): Bytes {
  const packet = toUtf8(bytes);
  const removed = properties(parse(packet)).flatMap((node) => {
    if (node.name === `${CONTAINER}Directory`) return droppedItems(packet, node, drops);
    const startsWith = (prefix: string) => node.name.startsWith(prefix);
    const isDropped =
      (drops.images && GAIN_MAP_NAMESPACES.some(startsWith)) ||
      (drops.video && VIDEO.some(startsWith));
    return isDropped ? [node] : [];
  });
  return applyEditsToBytes(packet, removed.filter(({ end }) => end).map(remove));
}

/** Return the items of a container that are dropped, the container if no other one is left. */
function droppedItems(
  packet: string,
  directory: Node,
  { images, video }: { images: boolean; video: boolean },
): Node[] {
  const items = [...directory.walk()].filter(({ name, end }) => name === `${RDF}li` && end);
  const isKept = (semantic: string) =>
    semantic === "Primary" || (semantic === "MotionPhoto" ? !video : !images);
  const semantics = items.map((item) => {
    const node = item.search(`${CONTAINER}item/Semantic`);
    return node ? valueOf(packet, node).trim() : "";
  });
  const isEmpty = !semantics.some((semantic) => semantic !== "Primary" && isKept(semantic));
  return isEmpty ? [directory] : items.filter((_, index) => !isKept(semantics[index]));
}
