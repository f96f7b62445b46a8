// Bytes: joined, compared, and as strings of which each character is one byte.

const CHUNK = 1 << 13; // arguments of one call

const ADLER_MODULUS = 65521;
const ADLER_RUN = 3800; // bytes whose sums fit into 32 bits
const ADLER_REACH = 64; // bytes at the end of compressed data that may be padding

const CRC_TABLE = new Uint32Array(256);
for (let value = 0; value < 256; value += 1) {
  let crc = value;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  CRC_TABLE[value] = crc;
}

/** Bytes that own or share a plain buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Return a string of which each character is one byte, for regular expressions. */
export function toBinary(data: Uint8Array): string {
  let text = "";
  for (let start = 0; start < data.length; start += CHUNK) {
    text += String.fromCharCode(...data.subarray(start, start + CHUNK));
  }
  return text;
}

/** Return the bytes of a string from `toBinary`. */
export function fromBinary(text: string): Bytes {
  const data = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) data[index] = text.charCodeAt(index);
  return data;
}

/** Return a text in UTF-8 as a string from `toBinary`. */
export const utf8ToBinary = (text: string): string => toBinary(new TextEncoder().encode(text));

/** Return the parts one after the other. */
export function join(parts: readonly Uint8Array[]): Bytes {
  const data = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let start = 0;
  for (const part of parts) {
    data.set(part, start);
    start += part.length;
  }
  return data;
}

/** Tell whether two arrays have the same bytes. */
export const isEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((value, index) => value === b[index]);

/** Tell whether the bytes of a binary string are at a place. */
export function hasAt(data: Uint8Array, text: string, start = 0): boolean {
  if (start < 0 || start + text.length > data.length) return false;
  for (let index = 0; index < text.length; index += 1) {
    if (data[start + index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

/** Return where the bytes of a binary string are between two places, -1 if they are not. */
export function find(data: Uint8Array, text: string, start = 0, end: number = data.length): number {
  const first = text.charCodeAt(0);
  let at = data.indexOf(first, start);
  while (at >= 0 && at + text.length <= end) {
    if (hasAt(data, text, at)) return at;
    at = data.indexOf(first, at + 1);
  }
  return -1;
}

/** Read an unsigned integer of 2 bytes, big-endian; 0 stands for bytes that are missing. */
export const u16 = (data: Uint8Array, at: number): number =>
  ((data[at] ?? 0) << 8) | (data[at + 1] ?? 0);

/** Read an unsigned integer of 4 bytes, big-endian. */
export const u32 = (data: Uint8Array, at: number): number =>
  u16(data, at) * 65536 + u16(data, at + 2);

/** Return an unsigned integer as 4 bytes, big-endian. */
export const pack32 = (value: number): Bytes =>
  Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);

/** Return the CRC-32 of PNG and ZIP; `crc` continues one. */
export function crc32(data: Uint8Array, crc = 0): number {
  let value = ~crc;
  for (let index = 0; index < data.length; index += 1) {
    value = CRC_TABLE[(value ^ data[index]) & 255] ^ (value >>> 8);
  }
  return ~value >>> 0;
}

/** Return without the bytes of zero at the end. */
export function withoutZeros(data: Bytes): Bytes {
  let end = data.length;
  while (end > 0 && data[end - 1] === 0) end -= 1;
  return data.subarray(0, end);
}

/** Tell whether data of zlib end with the sum of their content (RFC 1950), or padding after it. */
export function endsWithSum(data: Uint8Array, content: Uint8Array): boolean {
  let [a, b] = [1, 0];
  for (let start = 0; start < content.length; start += ADLER_RUN) {
    const end = Math.min(start + ADLER_RUN, content.length);
    for (let index = start; index < end; index += 1) {
      a += content[index];
      b += a;
    }
    a %= ADLER_MODULUS;
    b %= ADLER_MODULUS;
  }
  const sum = Uint8Array.of(b >> 8, b, a >> 8, a);
  return toBinary(data.subarray(-ADLER_REACH)).includes(toBinary(sum));
}
