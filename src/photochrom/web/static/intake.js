// How photos come in: chosen, dropped anywhere on the page, pasted, or a sample.

import { ask } from "./server.js";

const PHOTO = /^image\/|\.(jpe?g|png|tiff?|webp|avif|hei[cf]|bmp|gif|jp2|psd)$/i;

/** Call back with File objects whenever some come in. */
export function takeIn(callback) {
  for (const input of document.querySelectorAll("input.pick")) {
    input.addEventListener("change", () => {
      callback([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", async () => callback([await sample(button)]));
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) callback([...event.clipboardData.files]);
  });
  onDrop(callback);
}

async function sample(button) {
  const content = await ask(button.querySelector("img").src, { as: "blob" });
  return new File([content], button.dataset.sample, { type: content.type });
}

function onDrop(callback) {
  const sign = document.getElementById("drop");
  const carriesFiles = (event) => event.dataTransfer.types.includes("Files");
  let depth = 0; // each element that is entered is left as well
  window.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth++;
    sign.hidden = false;
  });
  window.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  window.addEventListener("dragleave", (event) => {
    if (carriesFiles(event)) sign.hidden = --depth <= 0;
  });
  window.addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    sign.hidden = true;
    // What was dropped has to be asked for at once: it is gone after the first await.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const dropped = items.map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
    const files = [];
    for (const [entry, file] of dropped) {
      if (entry?.isDirectory) files.push(...(await photosIn(entry)));
      else if (file) files.push(file);
    }
    if (files.length) callback(files);
  });
}

/** Return the photos in a folder and in those that it holds, by name; what is none is left out. */
async function photosIn(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break; // it gives a hundred at a time
    entries.push(...some);
  }
  entries.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const files = [];
  for (const entry of entries.filter((each) => !each.name.startsWith("."))) {
    if (entry.isDirectory) {
      files.push(...(await photosIn(entry)));
    } else {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (PHOTO.test(file.type) || PHOTO.test(file.name)) files.push(file);
    }
  }
  return files;
}
