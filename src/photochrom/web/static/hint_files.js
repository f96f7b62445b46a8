// Files of hints, such as photo.jpg.hints.json: the dots of one photo, saved and brought back.

import { RequestError } from "./api.js";
import { rejectLook } from "./looks.js";
import { photos, requestLook, statusOf } from "./photos.js";
import { t } from "./texts.js";

const SUFFIX = ".hints.json";
const NAME = /^(.+)\.hints(?: ?\(\d+\))?\.json$/i; // "a.jpg.hints (1).json" if there was one already
const UNSAFE = /[<>:"/\\|?*\x00-\x1f\x7f]/g; // what names in a zip do not have; see file_names.py
const MAX_NAME_LENGTH = 120; // of a photo on the server
const MAX_BYTES = 1e6; // of a request
const MAX_PROBLEMS = 5; // in one notice

const waiting = new Map(); // photo to {name, hints, report} of a file, until it is uploaded
const unchecked = new Map(); // photo to {name, report} of a file, until its size is known
let callbacks;

/** Call back: announce(message) to screen readers, warn(message), onShow(photo). */
export function startHintFiles(newCallbacks) {
  callbacks = newCallbacks;
}

export const isHintFile = ({ name }) => name.toLowerCase().endsWith(".json");

/** Return whether a file that was found in a folder is one of hints. */
export const hasHintName = ({ name }) => NAME.test(name);

/** Return a File with the hints of a photo, one on each line. */
export function makeHintFile({ name, look: { hints } }) {
  const lines = hints.map(({ x, y, color }) => `  {"x": ${x}, "y": ${y}, "color": "${color}"}`);
  return new File([`[\n${lines.join(",\n")}\n]\n`], name + SUFFIX, { type: "application/json" });
}

/**
 * Give photos the hints of files.
 *
 * A file belongs to the photo of its name that was added with it, first of all from the same folder;
 * else to one that is on the page, the latest one without hints if there are several.
 *
 * @param {(file: File) => string} folderOf Returns the path of the folder of a dropped file.
 */
export async function addHintFiles(files, added, folderOf) {
  const report = createReport();
  const owners = findOwners(files, added, folderOf);
  const [first] = owners.values();
  if (first && !added.length) callbacks.onShow(first);
  for (const file of files) {
    const { name } = file;
    const photo = owners.get(file);
    const hints = photo && (await readJson(file));
    if (!photo) report(t("hint_file.no_photo", { name }));
    else if (hints === null) report(t("hint_file.not_json", { name }));
    else waiting.set(photo, { name, hints, report });
  }
  useHintFiles();
}

/** Give the photos that are uploaded now the hints that wait for them. */
export function useHintFiles() {
  for (const [photo, file] of waiting) {
    if (!photo.id) continue;
    waiting.delete(photo);
    use(photo, file);
  }
  for (const [photo, file] of unchecked) {
    if (statusOf(photo) !== "ready") continue;
    unchecked.delete(photo);
    check(photo, file);
  }
}

async function use(photo, { name, hints, report }) {
  try {
    await requestLook(photo, { hints });
    unchecked.set(photo, { name, report });
    callbacks.announce(t("hint_file.used", { name, photo: photo.name }));
    useHintFiles(); // it may be ready by now
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    report(t("hint_file.refused", { name, error: error.message }));
  }
}

/** Take hints back that lie outside of the photo, whose size was not known before. */
function check(photo, { name, report }) {
  const { look, state } = photo;
  if (look.hints.every(({ x, y }) => x < state.width && y < state.height)) return;
  const size = { width: `${state.width}`, height: `${state.height}` };
  report(t("hint_file.outside", { name, photo: photo.name, ...size }));
  rejectLook(photo, { ...look, hints: [] });
}

/** Return a Map from files to their photos; a photo belongs to one file. */
function findOwners(files, added, folderOf) {
  const owners = new Map();
  const assign = (choose) => {
    const taken = new Set(owners.values());
    for (const file of files) {
      const [, name] = NAME.exec(file.name) ?? [];
      if (!name || owners.has(file)) continue;
      const isOwner = (photo) => !taken.has(photo) && fileKey(photo.name) === fileKey(name);
      const photo = choose(isOwner, folderOf(file));
      if (!photo) continue;
      taken.add(photo);
      owners.set(file, photo);
    }
  };
  const isIn = (folder) => (photo) => photo.file && folderOf(photo.file) === folder;
  const here = photos.filter((photo) => !added.includes(photo));
  assign((isOwner, folder) => added.filter(isOwner).find(isIn(folder)));
  assign((isOwner) => added.find(isOwner));
  assign((isOwner) => here.filter(isOwner).findLast(({ look }) => !look.hints.length));
  assign((isOwner) => here.findLast(isOwner));
  return owners;
}

/** Return a photo's name as far as it survives the server, a zip and other systems. */
function fileKey(name) {
  const safe = [...name.normalize("NFC").replace(UNSAFE, "_")];
  const suffix = /\.[^.]{0,7}$/.exec(name)?.[0] ?? "";
  return safe.length <= MAX_NAME_LENGTH
    ? safe.join("")
    : safe.slice(0, MAX_NAME_LENGTH - suffix.length).join("") + suffix;
}

/** Return the content of a file, or null if it is not JSON. */
async function readJson(file) {
  try {
    return file.size > MAX_BYTES ? null : JSON.parse(await file.text());
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof DOMException) return null;
    throw error;
  }
}

/** Return a function that adds a sentence to one notice. */
function createReport() {
  const problems = [];
  return (problem) => {
    problems.push(problem);
    const more = problems.length - MAX_PROBLEMS;
    const shown = problems.slice(0, MAX_PROBLEMS).join(" ");
    callbacks.warn(more > 0 ? `${shown} ${t("hint_file.more", { count: more })}` : shown);
  };
}
