// XMP packets as trees of nodes with positions, by which parts are changed and no other byte.
//
// Packets are binary strings in UTF-8. Damaged XML is read as far as it can be, entities are not
// expanded, and the time is linear.

import { type Bytes, fromBinary, toBinary } from "../bytes.ts";

export const RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";

/** Start and end of bytes, and what replaces them. */
export type Edit = readonly [number, number, string];

const MAX_TAGS = 100_000; // limits of time and memory; what exceeds them is not read
const MAX_NAMESPACES = 500;
const S = "[ \\t\\n\\r\\f\\v]"; // as \s has bytes of UTF-8
const TAG = new RegExp(
  `<(?:([^ \\t\\n\\r\\f\\v<>/!?"'=]+)(?=${S}|[/>])((?:[^<>"']|"[^"<]*"|'[^'<]*')*)` +
    `|/([^ \\t\\n\\r\\f\\v<>]+)${S}*)>|<(!--|!\\[CDATA\\[|\\?)`,
  "g",
);
const SKIPPED_ENDS: Record<string, string> = { "!--": "-->", "![CDATA[": "]]>", "?": "?>" };
const ATTRIBUTE = new RegExp(
  `(?<=${S}|["'])([^ \\t\\n\\r\\f\\v=<>"'/]+)${S}*=${S}*(?:"([^"]*)"|'([^']*)')`,
  "dg",
);
const DECLARATION = /^\ufeff?\s*<\?xml\s[^>]*\?>\s*/u;

type Namespaces = ReadonlyMap<string, string>;

/** An element or an attribute. */
export class Node {
  /** Attributes, then elements. */
  readonly children: Node[] = [];

  /**
   * @param name Namespace and local name joined, as RDF names properties; attributes may have none.
   * @param start Of an attribute with the space before it.
   * @param valueStart Of the content.
   * @param valueEnd Equal to the start in an element that is a single tag.
   * @param end 0: the element is not closed.
   */
  constructor(
    readonly name: string,
    readonly start: number,
    readonly valueStart: number,
    public valueEnd: number,
    public end: number,
  ) {}

  /** Return the first child of a name. */
  find(name: string): Node | undefined {
    return this.children.find((child) => child.name === name);
  }

  /** Return the first descendant of a name. */
  search(name: string): Node | undefined {
    for (const node of this.walk()) if (node.name === name) return node;
    return undefined;
  }

  /** Yield this node and its descendants. */
  *walk(): Generator<Node> {
    const nodes: Node[] = [this];
    for (let node = nodes.pop(); node; node = nodes.pop()) {
      yield node;
      nodes.push(...node.children.toReversed());
    }
  }
}

/** Return a packet in UTF-8 as a binary string; one of UTF-16 or UTF-32 is converted. */
export function toUtf8(packet: Uint8Array): string {
  const encoding = findEncoding(packet);
  if (encoding === null) return toBinary(packet);
  const text = encoding.startsWith("utf-32")
    ? decodeUtf32(packet, encoding === "utf-32le")
    : new TextDecoder(encoding).decode(packet);
  const plain = text.replace(DECLARATION, "").replace(/^\ufeff/u, "");
  return toBinary(new TextEncoder().encode(plain));
}

/** Return the encoding by a mark of byte order, or which of the first bytes of ASCII are 0. */
function findEncoding(packet: Uint8Array): string | null {
  const start = toBinary(packet.subarray(0, 4));
  if (start === "\xff\xfe\0\0") return "utf-32le";
  if (start === "\0\0\xfe\xff") return "utf-32be";
  if (start.startsWith("\xff\xfe")) return "utf-16le";
  if (start.startsWith("\xfe\xff")) return "utf-16be";
  const zeros = [...start].map((byte) => (byte === "\0" ? "0" : "x")).join("");
  const encodings: Record<string, string> = {
    ...{ x000: "utf-32le", "000x": "utf-32be", x0x0: "utf-16le", "0x0x": "utf-16be" },
  };
  return encodings[zeros] ?? null;
}

function decodeUtf32(packet: Uint8Array, isLittle: boolean): string {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  let text = "";
  for (let at = 0; at + 4 <= packet.length; at += 4) {
    const code = view.getUint32(at, isLittle);
    text += code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
  }
  return text;
}

/** Return a nameless node whose children are the outermost elements of a packet. */
export function parse(packet: string): Node {
  const root = new Node("", 0, 0, packet.length, packet.length);
  const stack: [string, Node, Namespaces][] = [["", root, new Map([["xml", "xml:"]])]];
  const isOpen = new Map<string, number>();
  const count = (name: string, change: number) =>
    isOpen.set(name, (isOpen.get(name) ?? 0) + change);
  TAG.lastIndex = 0;
  for (let tags = 0; tags < MAX_TAGS; tags += 1) {
    const tag = TAG.exec(packet);
    if (!tag) break;
    const [text, name, attributes, closed, skipped] = tag;
    if (skipped) {
      const end = packet.indexOf(SKIPPED_ENDS[skipped], TAG.lastIndex);
      if (end < 0) break;
      TAG.lastIndex = end;
    } else if (name) {
      const [, parent, outer] = stack.at(-1)!;
      const [element, namespaces] = readElement(tag.index, name, attributes, outer);
      parent.children.push(element);
      if (attributes.endsWith("/")) {
        element.end = TAG.lastIndex;
      } else {
        count(name, 1);
        stack.push([name, element, namespaces]);
      }
    } else if (isOpen.get(closed)) {
      let [opened, element] = stack.pop()!;
      count(opened, -1);
      while (opened !== closed) {
        [opened, element] = stack.pop()!; // what is in it was not closed
        count(opened, -1);
      }
      element.valueEnd = tag.index;
      element.end = tag.index + text.length;
    }
  }
  return root;
}

/** Return the packet with edits; of those that overlap, the one that starts first counts. */
export function applyEdits(packet: string, edits: readonly Edit[]): string {
  const parts: string[] = [];
  let position = 0;
  for (const [start, end, replacement] of edits.toSorted((a, b) => a[0] - b[0] || a[1] - b[1])) {
    if (start >= position) {
      parts.push(packet.slice(position, start), replacement);
      position = end;
    }
  }
  return [...parts, packet.slice(position)].join("");
}

/** Return the bytes of a packet after edits. */
export const applyEditsToBytes = (packet: string, edits: readonly Edit[]): Bytes =>
  fromBinary(applyEdits(packet, edits));

/** Yield the nodes that no description contains, such as the outermost descriptions. */
export function* walkOutsideDescriptions(root: Node): Generator<Node> {
  const nodes = [root];
  for (let node = nodes.pop(); node; node = nodes.pop()) {
    yield node;
    if (node.name !== `${RDF}Description`) nodes.push(...node.children.toReversed());
  }
}

/** Return the properties of the photo: of the outermost descriptions. */
export const properties = (root: Node): Node[] =>
  [...walkOutsideDescriptions(root)]
    .filter(({ name }) => name === `${RDF}Description`)
    .flatMap(({ children }) => children);

/** Return what descriptions of a packet are about, in quotes. */
export function findAbout(packet: string, root: Node): string {
  for (const node of root.walk()) {
    const text = packet.slice(node.valueStart - 1, node.valueEnd + 1);
    if (node.name === `${RDF}about` && /^["']/u.test(text)) return text;
  }
  return '""';
}

/** Return the content of a node. */
export const valueOf = (packet: string, node: Node): string =>
  packet.slice(node.valueStart, node.valueEnd);

/** Return an edit that removes a node. */
export const remove = (node: Node): Edit => [node.start, node.end, ""];

/** Return the element that a tag opens, and the namespaces in it. */
function readElement(
  start: number,
  name: string,
  attributes: string,
  outer: Namespaces,
): [Node, Namespaces] {
  const offset = start + 1 + name.length;
  const matches = [...attributes.matchAll(ATTRIBUTE)];
  const added = matches
    .filter(([, key]) => key === "xmlns" || key.startsWith("xmlns:"))
    .map(([, key, a, b]) => [key.slice(6), a ?? b] as const);
  const isKept = added.length > 0 && outer.size + added.length < MAX_NAMESPACES;
  const namespaces = isKept ? new Map([...outer, ...added]) : outer;
  const valueStart = offset + attributes.length + 1;
  const element = new Node(resolve(name, namespaces), start, valueStart, valueStart, 0);
  for (const match of matches) {
    const key = match[1];
    if (!key.includes(":") || key.startsWith("xmlns:")) continue;
    let from = match.index;
    while (from > 0 && " \t\n\r\f\v".includes(attributes[from - 1])) from -= 1;
    const [a, b] = match.indices![match[2] === undefined ? 3 : 2]!;
    const end = match.index + match[0].length;
    element.children.push(
      new Node(resolve(key, namespaces), offset + from, offset + a, offset + b, offset + end),
    );
  }
  return [element, namespaces];
}

/** Return namespace and local name joined; the name itself if its prefix is not declared. */
function resolve(name: string, namespaces: Namespaces): string {
  const colon = name.lastIndexOf(":");
  const namespace = namespaces.get(name.slice(0, Math.max(0, colon)));
  return namespace === undefined ? name : namespace + name.slice(colon + 1);
}
