// The download of one file, with its progress.

/** A file that could not be loaded, or not in full. */
export class LoadError extends Error {}

/** A file; it is read once. */
export class Download {
  /** Number of bytes that have arrived. */
  loaded = 0;
  private content: ArrayBuffer | null = null;
  private cache: RequestCache = "default";

  /** @param bytes Size of the file. */
  constructor(
    private readonly url: string,
    private readonly bytes: number,
  ) {}

  /**
   * Return the content; a second call after an error tries again.
   *
   * @throws {LoadError} If the server cannot be reached, or sends another file.
   */
  async read(onProgress: () => void = () => {}): Promise<ArrayBuffer> {
    return (this.content ??= await this.fetch(onProgress));
  }

  private async fetch(onProgress: () => void): Promise<ArrayBuffer> {
    this.loaded = 0;
    const { cache } = this;
    this.cache = "reload"; // next time, as the browser may have kept what was wrong
    const content = new Uint8Array(this.bytes);
    try {
      const response = await fetch(this.url, { cache });
      if (!response.ok || !response.body) throw new LoadError(`status ${response.status}`);
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (this.loaded + value.length > this.bytes) {
          await reader.cancel();
          throw new LoadError("the file is too long");
        }
        content.set(value, this.loaded);
        this.loaded += value.length;
        onProgress();
      }
    } catch (error) {
      if (error instanceof TypeError || error instanceof DOMException) {
        throw new LoadError(error.message); // no connection, or one that was lost
      }
      throw error;
    }
    if (this.loaded < this.bytes) throw new LoadError("the file is too short");
    return content.buffer;
  }
}
