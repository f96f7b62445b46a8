// File formats of photos, by the first bytes of a file.

import { hasAt, toBinary, u32 } from "./bytes.ts";
import { splitName } from "./names.ts";

const SIGNATURES: readonly (readonly [string, readonly string[]])[] = [
  ["PNG", ["\x89PNG\r\n\x1a\n"]],
  ["JPEG", ["\xff\xd8\xff"]],
  ["TIFF", ["II*\0", "MM\0*", "II+\0", "MM\0+"]],
  ["BMP", ["BM"]],
  ["PSD", ["8BPS"]],
  ["JPEG XL", ["\0\0\0\x0cJXL \r\n\x87\n", "\xff\x0a"]],
  ["JPEG 2000", ["\0\0\0\x0cjP  \r\n\x87\n", "\xff\x4f\xff\x51"]],
  ["QOI", ["qoif"]],
  ["GIF", ["GIF87a", "GIF89a"]],
  ["camera raw", ["FUJIFILMCCD-RAW", "II\x1a\0\0\0HEAPCCDR", "FOVb", "\0MRM", "IIU\0"]],
  ["camera raw", ["IIRO", "IIRS", "MMOR"]],
  ["PDF", ["%PDF"]],
];
const AVIF_BRANDS = ["avif", "avis"];
const HEIC_BRANDS = ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"];
const RAW_SUFFIXES = [
  ...["cr2", "cr3", "crw", "bay", "erf", "raf", "gpr", "3fr", "fff", "dcr", "dcs", "drf", "k25"],
  ...["kdc", "mos", "rwl", "mef", "mdc", "mrw", "nef", "nrw", "orf", "ori", "rw2", "pef", "ptx"],
  ...["eip", "iiq", "srw", "x3f", "arw", "sr2", "srf", "dng", "raw"],
];

/** Return the format of a file by its first 64 bytes and its name, null if it has no known one. */
export function detectFormat(data: Uint8Array, name: string): string | null {
  if (hasAt(data, "RIFF") && hasAt(data, "WEBP", 8)) return "WebP";
  if (hasAt(data, "ftyp", 4)) {
    if (hasAt(data, "crx ", 8)) return "camera raw";
    const brands = readBrands(data);
    if (AVIF_BRANDS.some((brand) => brands.includes(brand))) return "AVIF";
    return HEIC_BRANDS.some((brand) => brands.includes(brand)) ? "HEIC" : null;
  }
  const found = SIGNATURES.find(([, starts]) => starts.some((start) => hasAt(data, start)));
  const format = found?.[0] ?? null;
  const isNamedRaw = RAW_SUFFIXES.includes(splitName(name)[1].slice(1).toLowerCase());
  return isNamedRaw && (format === null || format === "TIFF") ? "camera raw" : format;
}

/** Return the brands of a FileTypeBox (ISO/IEC 14496-12, section 4.3). */
function readBrands(data: Uint8Array): string[] {
  const end = Math.min(u32(data, 0), data.length, 64);
  const brands = [toBinary(data.subarray(8, 12))];
  for (let start = 16; start + 4 <= end; start += 4) {
    brands.push(toBinary(data.subarray(start, start + 4)));
  }
  return brands;
}
