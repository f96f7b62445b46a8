// The order in which one thread does its work: the most urgent first, then the oldest.

/** How urgent a job is; less is sooner. */
export const RANK = {
  picture: 0,
  result: 1,
  thumbnail: 2,
  versions: 3,
  archive: 4,
  preparation: 5,
} as const;

/** Lets messages arrive, and more urgent jobs go first; throws if the job was cancelled. */
export type Pause = () => Promise<void>;

interface Job {
  rank: number;
  owner: string | null;
  start: () => Promise<void>;
}

export class Queue {
  readonly #waiting: Job[] = [];
  /** The last one runs; those before have let it go first. */
  readonly #running: Job[] = [];
  readonly #onWork: (owner: string | null) => void;

  /** `onWork` is called with the owner of the job that runs from now on, or null. */
  constructor(onWork: (owner: string | null) => void = () => {}) {
    this.#onWork = onWork;
  }

  /**
   * Do some work, and return its result.
   *
   * @param work Gets a function that it calls between steps of some 100 ms.
   * @param signal Cancels it with its reason, at once if it waits.
   */
  run<T>(
    rank: number,
    owner: string | null,
    work: (pause: Pause) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const pause = async () => {
        await receiveMessages();
        signal?.throwIfAborted();
        await this.#runBefore(rank);
        signal?.throwIfAborted();
      };
      const onAbort = () => {
        const index = this.#waiting.indexOf(job);
        if (index < 0) return; // it runs, and ends at its next pause
        this.#waiting.splice(index, 1);
        reject(signal!.reason);
      };
      const job = {
        rank,
        owner,
        start: async () => {
          try {
            await pause();
            resolve(await work(pause));
          } catch (error) {
            reject(error);
          } finally {
            signal?.removeEventListener("abort", onAbort);
          }
        },
      };
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      signal?.addEventListener("abort", onAbort);
      this.#waiting.push(job);
      if (!this.#running.length) void this.#runBefore(Infinity);
    });
  }

  /** Return the position of an owner's first job that waits, from 1; null: none waits. */
  position(owner: string): number | null {
    const index = this.#waiting.findIndex((job) => job.owner === owner);
    return index < 0 ? null : index + 1;
  }

  /** Run the jobs that wait and are more urgent than a rank. */
  async #runBefore(rank: number): Promise<void> {
    for (let job = this.#take(rank); job; job = this.#take(rank)) {
      this.#running.push(job);
      this.#onWork(job.owner);
      await job.start();
      this.#running.pop();
      this.#onWork(this.#running.at(-1)?.owner ?? null);
    }
  }

  #take(rank: number): Job | null {
    const best = Math.min(rank, ...this.#waiting.map((job) => job.rank));
    const index = this.#waiting.findIndex((job) => job.rank === best);
    return index < 0 || best >= rank ? null : this.#waiting.splice(index, 1)[0];
  }
}

/** Return once the messages that have arrived are handled. */
function receiveMessages(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
