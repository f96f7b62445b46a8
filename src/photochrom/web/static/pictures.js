// Pictures of the server's, decoded before anybody sees them.

import { ask } from "./server.js";

/** Return a decoded <img>, or null where it is none that this browser can show. */
export async function load(address) {
  const image = new Image();
  image.draggable = false;
  const local = address.startsWith("blob:"); // the file itself, which is not ours to let go
  try {
    image.src = local ? address : URL.createObjectURL(await ask(address, { as: "blob" }));
    await image.decode();
    return image;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return null;
  } finally {
    if (!local) URL.revokeObjectURL(image.src); // decoded, it needs its address no more
  }
}
