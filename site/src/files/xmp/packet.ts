// Properties of XMP packets, read and set. Every other byte of a packet in UTF-8 stays as it is.

import { type Bytes, fromBinary, utf8ToBinary } from "../bytes.ts";
import type { Crop, Turn } from "../turning.ts";
import { cropRegions, turnRegions } from "./regions.ts";
import {
  type Edit,
  type Node,
  RDF,
  applyEdits,
  applyEditsToBytes,
  findAbout,
  parse,
  properties,
  remove,
  toUtf8,
  valueOf,
  walkOutsideDescriptions,
} from "./tree.ts";

const XMP = "http://ns.adobe.com/xap/1.0/";
const ORIENTATION = "http://ns.adobe.com/tiff/1.0/Orientation";
const THUMBNAILS = [`${XMP}Thumbnails`, `${XMP}PageInfo`];
const MARK = ["photochrom", "urn:photochrom:", "colorized"] as const;
const SOURCE_TYPE = [
  "Iptc4xmpExt",
  "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
  "DigitalSourceType",
] as const;
const COMPOSITE =
  "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";
const NOT_IN_XML = /[^\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;
const ESCAPES: Record<string, string> = {
  ...{ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" },
};
const EMPTY_RDF = `<rdf:RDF xmlns:rdf="${RDF}">\n</rdf:RDF>`;

/** A packet without properties. */
export const EMPTY_PACKET: Bytes = fromBinary(
  '<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n' +
    `<x:xmpmeta xmlns:x="adobe:ns:meta/">${EMPTY_RDF}</x:xmpmeta>\n` +
    '<?xpacket end="w"?>',
);

/** Return the orientation, 1 to 8 as in EXIF; null if it is missing or invalid. */
export function readOrientation(bytes: Bytes): number | null {
  const packet = toUtf8(bytes);
  const [node] = findOrientations(packet, parse(packet));
  return node ? Number(valueOf(packet, node)) : null;
}

/**
 * Return the packet for the upright photo.
 *
 * Its orientation becomes 1, sizes and regions are turned, and thumbnails, which show the photo
 * before, are removed.
 */
export function makeUpright(bytes: Bytes, turn: Turn): Bytes {
  const packet = toUtf8(bytes);
  const root = parse(packet);
  return applyEditsToBytes(packet, [
    ...findOrientations(packet, root).map((node) => setValue(node, "1")),
    ...properties(root)
      .filter(({ name, end }) => THUMBNAILS.includes(name) && end)
      .map(remove),
    ...(turn.orientation > 1 ? turnRegions(packet, root, turn) : []),
  ]);
}

/**
 * Return the packet with sizes set and regions moved, and what is lost, each a phrase.
 *
 * Regions whose centre is cut off are removed.
 */
export function crop(bytes: Bytes, crop: Crop): [Bytes, string[]] {
  const packet = toUtf8(bytes);
  const [edits, lost] = cropRegions(packet, parse(packet), crop);
  return [applyEditsToBytes(packet, edits), lost];
}

/** Return whether a packet has the text of `setMark`. */
export function hasMark(bytes: Bytes): boolean {
  return properties(parse(toUtf8(bytes))).some(({ name }) => name === MARK[1] + MARK[2]);
}

/**
 * Return the packet with properties that say that colours were added; null if it is no packet.
 *
 * They are a text and IPTC's DigitalSourceType; earlier ones are replaced. Characters that XML
 * cannot hold are left out.
 */
export function setMark(bytes: Bytes, text: string): Bytes | null {
  const marked = addMark(toUtf8(bytes), text);
  return marked === null ? null : fromBinary(marked);
}

function addMark(packet: string, text: string): string | null {
  const root = parse(packet);
  const rdf = findOutside(root, `${RDF}RDF`);
  if (!rdf) {
    const outer = findOutside(root, "adobe:ns:meta/xmpmeta");
    if (!outer || isSingleTag(packet, outer)) return null;
    return addMark(applyEdits(packet, [[outer.valueStart, outer.valueStart, EMPTY_RDF]]), text);
  }
  const escaped = text.replace(NOT_IN_XML, "").replace(/[&<>"']/gu, (found) => ESCAPES[found]);
  const values = [
    [...MARK, utf8ToBinary(escaped)],
    [...SOURCE_TYPE, COMPOSITE],
  ] as const;
  const missing = new Set(values);
  const edits: Edit[] = [];
  for (const node of properties(root)) {
    const value = values.find(([, namespace, local]) => node.name === namespace + local);
    if (!value || !node.end) continue;
    if (node.valueStart < node.valueEnd && !node.children.length && missing.delete(value)) {
      edits.push(setValue(node, value[3]));
    } else {
      edits.push(remove(node));
    }
  }
  if (missing.size) edits.push(addDescription(packet, root, rdf, [...missing]));
  return applyEdits(packet, edits);
}

/** Return an edit that adds a description of properties: prefix, namespace, local name, value. */
function addDescription(
  packet: string,
  root: Node,
  rdf: Node,
  values: readonly (readonly [string, string, string, string])[],
): Edit {
  const start = packet.slice(rdf.start, rdf.valueStart);
  const name = /^<([^ \t\n\r\f\v/>]*)/u.exec(start)![1];
  const prefix = name.slice(0, Math.max(0, name.lastIndexOf(":")));
  const rdfPrefix = prefix || "rdf";
  let line = `\n<${rdfPrefix}:Description ${rdfPrefix}:about=${findAbout(packet, root)}`;
  if (!prefix) line += ` xmlns:rdf="${RDF}"`; // RDF is the default namespace
  for (const [short, namespace, local, value] of values) {
    line += ` xmlns:${short}="${namespace}" ${short}:${local}="${value}"`;
  }
  line += "/>";
  if (!isSingleTag(packet, rdf)) return [rdf.valueStart, rdf.valueStart, line];
  return [rdf.start, rdf.end, `${start.slice(0, start.lastIndexOf("/"))}>${line}</${name}>`];
}

/** Return the first node of a name outside of descriptions. */
function findOutside(root: Node, name: string): Node | undefined {
  for (const node of walkOutsideDescriptions(root)) if (node.name === name) return node;
  return undefined;
}

const isSingleTag = (packet: string, { valueStart }: Node): boolean =>
  packet.slice(valueStart - 2, valueStart) === "/>";

const findOrientations = (packet: string, root: Node): Node[] =>
  properties(root).filter(
    (node) =>
      node.name === ORIENTATION &&
      /^[ \t\n\r\f\v]*[1-8][ \t\n\r\f\v]*$/u.test(valueOf(packet, node)),
  );

const setValue = (node: Node, value: string): Edit => [node.valueStart, node.valueEnd, value];
