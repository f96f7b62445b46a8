// Extended XMP: a packet that is longer than a segment of a JPEG, as two.
//
// Follows the XMP Specification, part 3, section 1.1.3.1.

import { type Bytes, fromBinary, join, pack32, toBinary, u32 } from "../bytes.ts";
import {
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
} from "./tree.ts";

const NOTE = "http://ns.adobe.com/xmp/note/";
const GUID = `${NOTE}HasExtendedXMP`;
const GUID_SIZE = 32;
const HEADER_SIZE = GUID_SIZE + 8; // of a part: GUID, length of the extension, offset in it
const NAMESPACE = /[ \t\n\r\f\v]xmlns:([\w.-]+)[ \t\n\r\f\v]*=[ \t\n\r\f\v]*("[^"<]*"|'[^'<]*')/gu;

/**
 * Return a packet with the properties of its extension, whose GUID it does not name then.
 *
 * @param bytes It names the GUID.
 * @param parts Of the extension, as in the segments.
 * @returns The packet, and whether the extension is complete and of this packet. If not, the packet
 *   has no properties of it.
 */
export function joinPackets(bytes: Bytes, parts: readonly Bytes[]): [Bytes, boolean] {
  const packet = toUtf8(bytes);
  const root = parse(packet);
  const guid = properties(root).find(({ name, end }) => name === GUID && end);
  const rdf = findRdf(root);
  if (!guid || !rdf) return [fromBinary(packet), false];
  const assembled = assemble(parts, valueOf(packet, guid).trim());
  const extension = assembled ? toUtf8(assembled) : "";
  const inner = findRdf(parse(extension));
  if (!inner) return [applyEditsToBytes(packet, [remove(guid)]), false];
  const outer = readNamespaces(extension.slice(0, inner.valueStart));
  const added = inner.children
    .filter(({ name, end }) => name === `${RDF}Description` && end)
    .map((node) => withNamespaces(extension, node, outer));
  const edits = [remove(guid), [rdf.valueEnd, rdf.valueEnd, added.join("")]] as const;
  return [applyEditsToBytes(packet, edits), true];
}

/**
 * Return a packet of at most `limit` bytes, and the extension that has its longest properties.
 *
 * If it fits, without padding where needed, there is no extension. If that is impossible, the
 * packet is returned as it is.
 */
export function splitPacket(bytes: Bytes, limit: number): [Bytes, Bytes | null] {
  if (bytes.length <= limit) return [bytes, null];
  const packet = toUtf8(bytes);
  const end = packet.lastIndexOf("<?xpacket end");
  const start = packet.slice(0, Math.max(0, end)).replace(/[ \t\n\r\f\v]+$/u, "");
  const short = start + packet.slice(Math.max(0, end)); // without padding
  if (short.length <= limit) return [fromBinary(short), null];
  const root = parse(short);
  const rdf = findRdf(root);
  if (!rdf) return [bytes, null];
  const names = properties(root).filter(({ name, end: last }) => last && !name.startsWith(RDF));
  const about = findAbout(short, root);
  let size = short.length + describeGuid(about, "0".repeat(GUID_SIZE)).length;
  const moved: Node[] = [];
  const movable = names.filter(({ name }) => name !== GUID);
  for (const node of movable.toSorted((a, b) => b.end - b.start - (a.end - a.start))) {
    if (size <= limit) break;
    moved.push(node);
    size -= node.end - node.start;
  }
  if (size > limit) return [bytes, null];
  const declarations = readNamespaces(short);
  declarations.delete("rdf");
  const descriptions = moved.map((node) => describe(short.slice(node.start, node.end), about));
  const extension = fromBinary(
    `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="${RDF}"${declare(declarations)}>` +
      `${descriptions.join("")}</rdf:RDF></x:xmpmeta>`,
  );
  const removed = [...names.filter(({ name }) => name === GUID), ...moved].map(remove);
  const added = describeGuid(about, guidOf(extension));
  const main = applyEdits(short, [...removed, [rdf.valueStart, rdf.valueStart, added]]);
  return [fromBinary(main), extension];
}

/** Return the parts of an extension for segments, of at most `size` bytes each. */
export function cutExtension(extension: Bytes | null, size: number): Bytes[] {
  if (!extension) return [];
  const step = size - HEADER_SIZE;
  const guid = fromBinary(guidOf(extension));
  return Array.from({ length: Math.ceil(extension.length / step) }, (_, index) => {
    const start = index * step;
    const numbers = [pack32(extension.length), pack32(start)];
    return join([guid, ...numbers, extension.subarray(start, start + step)]);
  });
}

/** Return the extension of a GUID, null if it is incomplete. */
function assemble(parts: readonly Bytes[], guid: string): Bytes | null {
  const chunks = new Map<number, Bytes>();
  let length = 0;
  for (const part of parts) {
    if (part.length <= HEADER_SIZE || toBinary(part.subarray(0, GUID_SIZE)) !== guid) continue;
    length = u32(part, GUID_SIZE);
    const offset = u32(part, GUID_SIZE + 4);
    if (!chunks.has(offset)) chunks.set(offset, part.subarray(HEADER_SIZE));
  }
  let end = 0;
  const offsets = [...chunks.keys()].toSorted((a, b) => a - b);
  for (const offset of offsets) {
    if (offset !== end) return null;
    end += chunks.get(offset)!.length;
  }
  return end && end === length ? join(offsets.map((offset) => chunks.get(offset)!)) : null;
}

/** Return the first node of RDF that has content. */
function findRdf(root: Node): Node | undefined {
  for (const node of root.walk()) {
    if (node.name === `${RDF}RDF` && node.valueEnd > node.valueStart) return node;
  }
  return undefined;
}

/** Return the declared prefixes to their namespaces in quotes. */
const readNamespaces = (text: string): Map<string, string> =>
  new Map([...text.matchAll(NAMESPACE)].map(([, prefix, namespace]) => [prefix, namespace]));

/** Return an element that declares all prefixes that were declared outside of it. */
function withNamespaces(packet: string, node: Node, outer: ReadonlyMap<string, string>): string {
  const element = packet.slice(node.start, node.end);
  const own = readNamespaces(packet.slice(node.start, node.valueStart));
  const missing = new Map([...outer].filter(([prefix]) => !own.has(prefix)));
  const name = /^<[^ \t\n\r\f\v/>]+/u.exec(element)![0];
  return name + declare(missing) + element.slice(name.length);
}

const declare = (namespaces: ReadonlyMap<string, string>): string =>
  [...namespaces].map(([prefix, namespace]) => ` xmlns:${prefix}=${namespace}`).join("");

/** Return the description of one property, an element or an attribute with a space before. */
const describe = (property: string, about: string): string =>
  property.startsWith("<")
    ? `<rdf:Description rdf:about=${about}>${property}</rdf:Description>`
    : `<rdf:Description rdf:about=${about}${property}/>`;

const describeGuid = (about: string, guid: string): string =>
  `<rdf:Description rdf:about=${about} xmlns:rdf="${RDF}" xmlns:xmpNote="${NOTE}" ` +
  `xmpNote:HasExtendedXMP="${guid}"/>`;

/** Return the MD5 digest of an extension (RFC 1321), which names it, in capitals. */
function guidOf(data: Bytes): string {
  const padded = new Uint8Array(((data.length + 72) >> 6) << 6);
  padded.set(data);
  padded[data.length] = 0x80;
  const words = new DataView(padded.buffer);
  words.setUint32(padded.length - 8, data.length * 8, true);
  words.setUint32(padded.length - 4, Math.floor(data.length / 2 ** 29), true);
  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
  const shifts = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
  ];
  for (let start = 0; start < padded.length; start += 64) {
    let [a, b, c, d] = state;
    for (let step = 0; step < 64; step += 1) {
      const round = step >> 4;
      const mixed = [(b & c) | (~b & d), (d & b) | (~d & c), b ^ c ^ d, c ^ (b | ~d)][round];
      const word = [step, 5 * step + 1, 3 * step + 5, 7 * step][round] % 16;
      const constant = Math.floor(Math.abs(Math.sin(step + 1)) * 2 ** 32);
      const sum = (a + mixed + constant + words.getUint32(start + 4 * word, true)) | 0;
      const shift = shifts[round][step % 4];
      [a, b, c, d] = [d, (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0, b, c];
    }
    [a, b, c, d].forEach((value, index) => {
      state[index] = (state[index] + value) | 0;
    });
  }
  const digest = new Uint8Array(16);
  const view = new DataView(digest.buffer);
  state.forEach((value, index) => view.setUint32(4 * index, value, true));
  const digits = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0"));
  return digits.join("").toUpperCase();
}
