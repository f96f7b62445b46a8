// A zip file of results, which are stored as they are, as photos are compressed already.
//
// Follows APPNOTE.TXT of PKWARE, without zip64.

import { PhotoError } from "../types.ts";
import { crc32 } from "./bytes.ts";

const MAX_SIZE = 2 ** 32 - 1;
const MAX_ENTRIES = 65535;
const UTF8 = 1 << 11;
const UNIX = 3 << 8;
const MODE = 0o100644 * 2 ** 16;
const VERSION = 20;

interface Entry {
  name: Uint8Array<ArrayBuffer>;
  crc: number;
  size: number;
  offset: number;
}

/** Writes a zip file. Its parts are blobs, so that a browser can keep them on the disk. */
export class ZipWriter {
  private readonly parts: BlobPart[] = [];
  private readonly entries: Entry[] = [];
  private size = 0;
  private readonly time = dosTime(new Date());

  /** Add a file; `name` has to differ from the others. Throws a `PhotoError` above 4 GB. */
  async add(name: string, blob: Blob): Promise<void> {
    const encoded = new TextEncoder().encode(name);
    const end = this.size + blob.size + 30 + encoded.length;
    const directory = this.entries.reduce((sum, entry) => sum + 46 + entry.name.length, 0);
    if (end + directory + 200 + encoded.length > MAX_SIZE || this.entries.length === MAX_ENTRIES) {
      throw new PhotoError(
        "the results are more than the 4 GB that one zip file holds; download fewer at once",
      );
    }
    const entry = { name: encoded, crc: await crcOf(blob), size: blob.size, offset: this.size };
    this.entries.push(entry);
    this.parts.push(record(0x04034b50, [VERSION], this.fields(entry)), encoded, blob);
    this.size = end;
  }

  /** Return the zip file. */
  finish(): Blob {
    const start = this.size;
    let length = 0;
    for (const entry of this.entries) {
      const last: Field[] = [0, 0, 0, [MODE], [entry.offset]];
      const head = record(0x02014b50, [UNIX | VERSION, VERSION], [...this.fields(entry), ...last]);
      this.parts.push(head, entry.name);
      length += head.length + entry.name.length;
    }
    const count = this.entries.length;
    this.parts.push(record(0x06054b50, [0, 0, count, count], [[length], [start], 0]));
    return new Blob(this.parts, { type: "application/zip" });
  }

  /** Return what the two headers of an entry have in common. */
  private fields({ name, crc, size }: Entry): Field[] {
    const [time, date] = this.time;
    return [UTF8, 0, time, date, [crc], [size], [size], name.length, 0];
  }
}

/** A number of 2 bytes, or in an array one of 4. */
type Field = number | [number];

/** Return a record: its signature and fields, little-endian. */
function record(signature: number, first: Field[], rest: Field[]): Uint8Array<ArrayBuffer> {
  const fields: Field[] = [[signature], ...first, ...rest];
  const size = fields.reduce<number>((sum, field) => sum + (Array.isArray(field) ? 4 : 2), 0);
  const view = new DataView(new ArrayBuffer(size));
  let at = 0;
  for (const field of fields) {
    if (Array.isArray(field)) view.setUint32(at, field[0], true);
    else view.setUint16(at, field, true);
    at += Array.isArray(field) ? 4 : 2;
  }
  return new Uint8Array(view.buffer);
}

async function crcOf(blob: Blob): Promise<number> {
  let crc = 0;
  const reader = blob.stream().getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    crc = crc32(read.value, crc);
  }
  return crc;
}

/** Return time and date as of MS-DOS. */
function dosTime(date: Date): [number, number] {
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const year = Math.max(0, date.getFullYear() - 1980);
  return [time, (year << 9) | ((date.getMonth() + 1) << 5) | date.getDate()];
}
