// Files from the user: chosen, dropped, pasted, or samples.

import { request } from "./api.js";
import { hasHintName } from "./hint_files.js";
import { t } from "./texts.js";

const ADDRESS = /^\s*(https?:|file:|data:image\/|blob:)\S+\s*$/;
// As in imagefile/formats.py; a system does not know the types of all.
const SUFFIXES =
  "jpg jpeg jpe jfif png tif tiff webp avif bmp mpo jps btf tf8 ptif jp2 j2k j2c jpc jpf " +
  "jpx jpm jph heic heif hif heics heifs avifs jxl pbm pgm ppm pnm pam pfm tga vda icb vst " +
  "sgi rgb rgba bw psd psb gif dib pcx qoi ras cr2 cr3 crw bay erf raf gpr 3fr fff dcr dcs " +
  "drf k25 kdc mos rwl mef mdc mrw nef nrw orf ori rw2 pef ptx eip iiq srw x3f arw sr2 srf " +
  "dng raw";
const PHOTO = new RegExp(`^image/|\\.(${SUFFIXES.replaceAll(" ", "|")})$`, "i");

const folders = new WeakMap(); // file to the path of its folder

/**
 * Call back: onFiles(array of File objects, folderOf) whenever the user adds some, and warn(message).
 *
 * folderOf(file) returns the path of the folder from which a file was dropped; "" if it was none.
 */
export function startFileInput({ onFiles: callback, warn }) {
  const folderOf = (file) => folders.get(file) ?? "";
  const onFiles = (files) => callback(files, folderOf);
  for (const input of document.querySelectorAll("input.file-input")) {
    input.addEventListener("change", () => {
      onFiles([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", async () => onFiles([await loadSample(button)]));
  }
  document.addEventListener("paste", (event) => {
    const { files, types } = event.clipboardData;
    if (files.length) onFiles([...files]);
    else if (event.target.closest?.("input, textarea")) return;
    else if (isAddress(event.clipboardData)) warn(t("input.address"));
    else if (types.length) warn(t("input.no_picture"));
  });
  startDrop(onFiles, warn);
}

async function loadSample(button) {
  const content = await request(button.querySelector("img").src, { as: "blob" });
  return new File([content], button.dataset.sample, { type: content.type });
}

/** Return whether what is pasted is an address, or a picture of a page without its file. */
function isAddress(data) {
  return (
    data.types.includes("text/uri-list") ||
    ADDRESS.test(data.getData("text/plain")) ||
    /<img\b/i.test(data.getData("text/html"))
  );
}

function startDrop(onFiles, warn) {
  const overlay = document.getElementById("drop-overlay");
  const isTaken = ({ dataTransfer: { types } }) =>
    !dragged && (types.includes("Files") || types.includes("text/uri-list"));
  let dragged = false; // something of this page
  let depth = 0; // dragenter and dragleave fire for nested elements as well
  document.addEventListener("dragstart", () => (dragged = true));
  document.addEventListener("dragend", () => (dragged = false));
  window.addEventListener("dragenter", (event) => {
    if (!isTaken(event)) return;
    depth++;
    overlay.hidden = false;
  });
  window.addEventListener("dragover", (event) => {
    if (isTaken(event)) event.preventDefault();
  });
  window.addEventListener("dragleave", (event) => {
    if (isTaken(event)) overlay.hidden = --depth <= 0;
  });
  window.addEventListener("drop", async (event) => {
    if (!isTaken(event)) return;
    event.preventDefault();
    depth = 0;
    overlay.hidden = true;
    // Read all entries before the first await, which empties dataTransfer.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const entries = items.map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
    if (!items.length) warn(t("input.address"));
    const files = [];
    const unreadable = [];
    for (const [entry, file] of entries) {
      if (entry?.isDirectory) {
        const found = await findFiles(entry, unreadable);
        if (!found.length) warn(t("input.empty_folder", { name: entry.name }));
        files.push(...found);
      } else if (file) {
        files.push(file);
      }
    }
    const [name] = unreadable;
    if (name) warn(t("input.unreadable", { count: unreadable.length, name }));
    if (files.length) onFiles(files);
  });
}

/**
 * Return the photos in a folder and its subfolders, sorted by name, without hidden ones, and the
 * hints of photos; add the names of what cannot be read to `unreadable`.
 */
async function findFiles(folder, unreadable) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const read = (resolve, reject) => reader.readEntries(resolve, reject);
    const batch = await readEntry(folder, read, unreadable);
    if (!batch?.length) break; // Chromium returns at most 100 at a time
    entries.push(...batch);
  }
  entries.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const files = [];
  for (const entry of entries.filter(({ name }) => !name.startsWith("."))) {
    if (entry.isDirectory) {
      files.push(...(await findFiles(entry, unreadable)));
    } else {
      const read = (resolve, reject) => entry.file(resolve, reject);
      const file = await readEntry(entry, read, unreadable);
      if (!file) continue;
      folders.set(file, folder.fullPath);
      if (PHOTO.test(file.type) || PHOTO.test(file.name) || hasHintName(file)) files.push(file);
    }
  }
  return files;
}

/** Return what `read` calls back with; null if the entry cannot be read. */
async function readEntry({ name }, read, unreadable) {
  try {
    return await new Promise(read);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    unreadable.push(name);
    return null;
  }
}
