// Files from the user: chosen, dropped, pasted, or samples.

import { request } from "./api.js";

const PHOTO = /^image\/|\.(jpe?g|png|tiff?|webp|avif|hei[cf]|bmp|gif|jp2|psd)$/i;

/** Call back with an array of File objects whenever the user adds some. */
export function onFiles(callback) {
  for (const input of document.querySelectorAll("input.file-input")) {
    input.addEventListener("change", () => {
      callback([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", async () => callback([await loadSample(button)]));
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) callback([...event.clipboardData.files]);
  });
  onDrop(callback);
}

async function loadSample(button) {
  const content = await request(button.querySelector("img").src, { as: "blob" });
  return new File([content], button.dataset.sample, { type: content.type });
}

function onDrop(callback) {
  const overlay = document.getElementById("drop-overlay");
  const hasFiles = (event) => event.dataTransfer.types.includes("Files");
  let depth = 0; // dragenter and dragleave fire for nested elements as well
  window.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth++;
    overlay.hidden = false;
  });
  window.addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  window.addEventListener("dragleave", (event) => {
    if (hasFiles(event)) overlay.hidden = --depth <= 0;
  });
  window.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    overlay.hidden = true;
    // Read all entries before the first await, which empties dataTransfer.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const entries = items.map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
    const files = [];
    for (const [entry, file] of entries) {
      if (entry?.isDirectory) files.push(...(await findPhotos(entry)));
      else if (file) files.push(file);
    }
    if (files.length) callback(files);
  });
}

/** Return the photos in a folder and its subfolders, sorted by name, without hidden ones. */
async function findPhotos(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) break; // Chromium returns at most 100 at a time
    entries.push(...batch);
  }
  entries.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const files = [];
  for (const entry of entries.filter(({ name }) => !name.startsWith("."))) {
    if (entry.isDirectory) {
      files.push(...(await findPhotos(entry)));
    } else {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (PHOTO.test(file.type) || PHOTO.test(file.name)) files.push(file);
    }
  }
  return files;
}
