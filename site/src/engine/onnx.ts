// The metadata of an ONNX file, which ONNX Runtime Web does not offer.

import { ModelError } from "../types.ts";

const METADATA = 14; // ModelProto.metadata_props
const [KEY, VALUE] = [1, 2]; // of StringStringEntryProto
const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5]; // wire types of protocol buffers

/** Return the metadata that `photochrom export` wrote; throws `ModelError` if it is damaged. */
export function readMetadata(model: Uint8Array): Map<string, string> {
  const metadata = new Map<string, string>();
  for (const [field, entry] of fields(model)) {
    if (field !== METADATA) continue;
    const texts = new Map([...fields(entry)].map(([key, bytes]) => [key, decode(bytes)]));
    metadata.set(texts.get(KEY) ?? "", texts.get(VALUE) ?? "");
  }
  return metadata;
}

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Yield number and bytes of the fields of a message that have a length. */
function* fields(message: Uint8Array): Generator<[number, Uint8Array]> {
  let place = 0;
  const readVarint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[place++];
      if (byte === undefined || factor > 2 ** 63) throw damagedError();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (place < message.length) {
    const tag = readVarint();
    const type = tag % 8;
    if (type === VARINT) readVarint();
    else if (type === FIXED64) place += 8;
    else if (type === FIXED32) place += 4;
    else if (type === BYTES) {
      const length = readVarint();
      if (place + length > message.length) throw damagedError();
      yield [Math.floor(tag / 8), message.subarray(place, place + length)];
      place += length;
    } else throw damagedError();
  }
}

const damagedError = () =>
  new ModelError("the model is not an ONNX model, or is damaged; give another file");
