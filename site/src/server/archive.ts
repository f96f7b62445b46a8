// Several results in one zip file: the counterpart of photochrom.web.archive.

import { ZipWriter, outputName, safeName, uniqueName } from "../files/index.ts";
import { PhotoError } from "../types.ts";
import type { Look } from "../types.ts";
import { asPhotoError, isBroken } from "./errors.ts";
import type { PagePhoto, Pictures } from "./pictures.ts";
import { RANK } from "./queue.ts";

const MISSING = "NOT COLORIZED.txt"; // says which photos are missing, and why
const HINTS_SUFFIX = ".hints.json";

export interface ArchiveItem {
  photo: PagePhoto;
  look: Look;
}

export class Archive {
  isStarted = false;
  readonly #items: ArchiveItem[];
  readonly #stop = new AbortController();
  #done = 0;
  #name: string | null = null;
  #failed: string[] = [];
  #isFinished = false;

  constructor(items: ArchiveItem[]) {
    this.#items = items;
  }

  /** Whether it is being made. */
  get isActive(): boolean {
    return this.isStarted && !this.#isFinished;
  }

  /** Return the progress, for JSON. */
  status() {
    return {
      total: this.#items.length,
      done: this.#done,
      name: this.#name,
      failed: this.#failed,
      finished: this.#isFinished,
      stopped: this.#stop.signal.aborted,
    };
  }

  /** Stop the work; the zip has the results so far, and says which are missing. */
  stop(): void {
    if (!this.#isFinished) this.#stop.abort();
  }

  /**
   * Make the results one after the other, and return the zip.
   *
   * @param isThere Tells whether a photo was not removed meanwhile.
   */
  async make(pictures: Pictures, isThere: (photo: PagePhoto) => boolean): Promise<Blob> {
    this.isStarted = true;
    try {
      return await this.#makeZip(pictures, isThere);
    } catch (error) {
      this.#stop.abort();
      throw error;
    } finally {
      this.#isFinished = true;
      this.#name = null;
    }
  }

  async #makeZip(pictures: Pictures, isThere: (photo: PagePhoto) => boolean): Promise<Blob> {
    const zip = new ZipWriter();
    const names = new Set<string>();
    const missing: string[] = [];
    const { signal } = this.#stop;
    const checkThere = (photo: PagePhoto) => {
      if (!isThere(photo)) throw new PhotoError("it was removed meanwhile");
    };
    for (const { photo, look } of this.#items) {
      this.#name = outputName(photo.name, look);
      try {
        signal.throwIfAborted();
        checkThere(photo);
        if (photo.status !== "ready") throw new PhotoError("it is not ready");
        const result = await pictures.result(photo, look, signal, RANK.archive);
        checkThere(photo);
        await zip.add(uniqueName(safeName(this.#name), names), result);
        if (look.hints.length) {
          // Under the name of the photo, with which it can be dropped again.
          const name = uniqueName(safeName(photo.name + HINTS_SUFFIX), names);
          await zip.add(name, new Blob([formatHints(look)]));
        }
      } catch (error) {
        if (isBroken(error)) throw error;
        if (signal.aborted) {
          missing.push(`${photo.name}: the download was stopped\r\n`);
          continue;
        }
        const { message } = asPhotoError(error, photo.name) as Error;
        missing.push(`${photo.name}: ${message}\r\n`);
        this.#failed.push(photo.name);
      }
      this.#done++;
    }
    if (missing.length) await zip.add(MISSING, new Blob(missing));
    return zip.finish();
  }
}

/** Return the content of a file of hints, with one on each line. */
function formatHints({ hints }: Look): string {
  const lines = hints.map(({ x, y, color }) => `  {"x": ${x}, "y": ${y}, "color": "${color}"}`);
  return `[\n${lines.join(",\n")}\n]\n`;
}
