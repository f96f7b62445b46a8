// Errors as the page gets them.

import { PhotoError } from "../types.ts";
import type { Failure } from "../protocol.ts";

/** An error with the status of its response. */
export class HttpError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Return why a photo failed. */
export function describeFailure(error: unknown, name: string): Failure {
  const known = asPhotoError(error, name);
  if (known instanceof PhotoError) return { error: known.message, code: known.code };
  const message = error instanceof Error ? error.message : String(error);
  return { error: `${name} could not be colorized: ${message}`, code: "server" };
}

/** Return an error that the user can understand for one of memory or of a file; others as it is. */
export function asPhotoError(error: unknown, name: string): unknown {
  if (isMemoryError(error)) {
    return new PhotoError(
      `${name} is too large for the memory of this device; close other tabs, or use the program, ` +
        "which needs less",
      "too_large",
    );
  }
  if (error instanceof DOMException && ["NotReadableError", "NotFoundError"].includes(error.name)) {
    return new PhotoError(`${name} can no longer be read; add it again`);
  }
  return error;
}

/** Tell whether there was not enough memory. */
function isMemoryError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof RangeError) return true; // "Array buffer allocation failed" and others
  const isSaid = /out of memory|\bOOM\b|bad_alloc|allocat/i.test(error.message);
  return isSaid || isMemoryError(error.cause);
}

/** Tell whether a WebAssembly module has stopped in the middle of its work, and cannot go on. */
export function isBroken(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const isAborted = error instanceof WebAssembly.RuntimeError || /^Aborted\(/.test(error.message);
  return isAborted || isBroken(error.cause);
}
