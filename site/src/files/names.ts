// File names: of results, and such as every system allows.

import type { Look } from "../types.ts";

const STEM_SUFFIX = "-color";
const JPEG_SUFFIXES = [".jpg", ".jpeg", ".jpe", ".jfif"];
const APPENDED_JPG = [".mpo", ".jps"]; // JPEGs of several images
const CHARACTERS = /[<>:"/\\|?*\x00-\x1f\x7f]/gu;
const RESERVED = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/iu; // names of devices
const MAX_LENGTH = 120;
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/** Return stem and suffix of a file name, the suffix with its dot, as Python's pathlib does. */
export function splitName(name: string): [string, string] {
  const dot = name.lastIndexOf(".");
  const isSuffix = dot > 0 && dot < name.length - 1;
  return isSuffix ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
}

/**
 * Return the file name of a result.
 *
 * It is that of the program for JPEG and PNG. Photos of other formats become a PNG, and keep their
 * suffix before it, so that the name depends on the photo alone.
 */
export function outputName(name: string, { format }: Pick<Look, "format">): string {
  const [stem, ending] = splitName(name);
  const suffix = ending.toLowerCase();
  const isJpeg = JPEG_SUFFIXES.includes(suffix);
  let added = ".png";
  if (format === "jpeg") {
    added = isJpeg ? "" : ".jpg";
  } else if (isJpeg || suffix === ".png") {
    added = "";
  } else if (APPENDED_JPG.includes(suffix)) {
    added = ".jpg";
  }
  return added ? `${name}${STEM_SUFFIX}${added}` : `${stem}${STEM_SUFFIX}${ending}`;
}

/** Return the format that a file name of `outputName` asks for. */
export const outputFormat = (name: string): "JPEG" | "PNG" =>
  name.toLowerCase().endsWith(".png") ? "PNG" : "JPEG";

/** Return a file name that every system allows: without <>:"/\|?*, reserved names and so on. */
export function safeName(name: string): string {
  const safe = name.replace(CHARACTERS, "_").replace(/[. ]+$/u, "");
  return !safe || RESERVED.test(safe) ? `_${safe}` : safe;
}

/** Return a name that differs from `names`, also for systems that ignore case, and add it. */
export function uniqueName(name: string, names: Set<string>): string {
  const [stem, suffix] = splitName(name);
  let unique = name;
  for (let number = 2; names.has(unique.toLowerCase()); number += 1) {
    unique = `${stem} (${number})${suffix}`;
  }
  names.add(unique.toLowerCase());
  return unique;
}

/** Return a file name as one short line without folders. */
export function sanitizeName(name: string): string {
  const last = name.split(/[\\/]/u).at(-1) ?? "";
  const line = [...last.replace(INVISIBLE, "").trim().replace(/^\.+/u, "")];
  const text = line.join("");
  if (line.length <= MAX_LENGTH) return text || "photo";
  const [stem, suffix] = splitName(text);
  const end = [...suffix].slice(0, 8);
  return [...[...stem].slice(0, MAX_LENGTH - end.length), ...end].join("");
}
