// Notices at the top of the page: a message, and a removal that can be undone.

const $ = (id) => document.getElementById(id);
const UNDO_TIME = 8000; // ms

let timer = 0;
let endRemoval = () => {};

/** Call back: onClose() of a message, to set the focus; onUndoRemoval(), onEndRemoval(). */
export function startNotices({ onClose, onUndoRemoval, onEndRemoval }) {
  endRemoval = onEndRemoval;
  $("notice-close").addEventListener("click", () => {
    $("notice").hidden = true;
    onClose();
  });
  $("removal-undo").addEventListener("click", onUndoRemoval);
  window.addEventListener("pagehide", hideUndo); // photos.js ends the removal
}

/** Show a message until the user closes it. */
export function showNotice(message) {
  $("notice").querySelector("p").textContent = message;
  $("notice").hidden = false;
}

/** Offer to undo a removal, for some seconds, or as long as the pointer or the focus is on it. */
export function offerUndo(message) {
  $("removal").querySelector("p").textContent = message;
  $("removal").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(onTimeout, UNDO_TIME);
}

function onTimeout() {
  if ($("removal").matches(":hover, :focus-within")) {
    timer = setTimeout(onTimeout, UNDO_TIME / 4);
    return;
  }
  hideUndo();
  endRemoval();
}

export function hideUndo() {
  clearTimeout(timer);
  $("removal").hidden = true;
}
