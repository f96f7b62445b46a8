// Values that can be made again, the latest within a number of bytes.

export class Cache {
  readonly #kept = new Map<string, { value: unknown; bytes: number }>(); // the oldest first
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Return the value of a key; it is made if it is not there. */
  async get<T>(key: string, make: () => Promise<T> | T, count: (value: T) => number): Promise<T> {
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    const value = kept ? (kept.value as T) : await make();
    const bytes = kept?.bytes ?? count(value);
    this.#kept.delete(key); // a more urgent job may have made it meanwhile
    if (bytes <= this.#maxBytes) this.#kept.set(key, { value, bytes });
    let used = [...this.#kept.values()].reduce((sum, each) => sum + each.bytes, 0);
    for (const [oldest, each] of this.#kept) {
      if (used <= this.#maxBytes) break;
      used -= each.bytes;
      this.#kept.delete(oldest);
    }
    return value;
  }

  /** Drop the values whose keys start with a text. */
  drop(start: string): void {
    for (const key of this.#kept.keys()) if (key.startsWith(start)) this.#kept.delete(key);
  }
}
