// The photos of one tab, kept over a reload in IndexedDB, as far as the browser allows.

import type { Failure, Gone, KeptPhoto } from "./protocol.ts";

const KEY = "photochrom.session"; // of sessionStorage, which belongs to one tab
const WORKING = "photochrom.working"; // the photo that is worked on; left behind by a crash
const CLAIM_TIME = 1500; // ms until the page before a reload has surely ended
const MAX_IDLE = 24 * 3600 * 1000; // ms until photos of a tab that is closed are deleted
const PATH = new URL(".", location.href).pathname; // other sites of this host have others

type Meta = Omit<KeptPhoto, "file">;
type Stores = Record<"sessions" | "photos" | "files", IDBObjectStore>;

export interface Session {
  photos: Map<string, KeptPhoto>;
  /** Why there are no photos of an earlier visit. */
  gone: Gone;
  /** Keep a photo, in place of its older state. */
  keep(photo: KeptPhoto): void;
  /** Delete photos; null: all. */
  forget(ids: string[] | null): void;
  /** Remember which photo is worked on, in case that ends the page. */
  setWorking(id: string | null): void;
}

/** Return the session of this tab, a new one if there is none. */
export async function openSession(): Promise<Session> {
  const known = readTab(KEY);
  // A copy of a tab has the key too, but not the lock.
  const database = navigator.locks ? await openDatabase().catch(() => null) : null;
  const isBack = Boolean(known && database && (await claim(known)));
  const id = isBack ? known! : createKey();
  writeTab(KEY, id);
  if (database && !isBack) await claim(id);
  let store = database && new Store(database, id);
  const kept = (await store?.open(isBack).catch(() => (store = null))) ?? null;
  const photos = new Map((kept ?? []).map((photo) => [photo.id, photo]));
  const crashed = photos.get(readTab(WORKING) ?? "");
  if (crashed) crashed.failure = describeCrash(crashed.name);
  writeTab(WORKING, null);
  window.addEventListener("pagehide", () => writeTab(WORKING, null));
  return {
    photos,
    gone: goneOf(known !== null && !kept, isBack, store !== null),
    keep(photo) {
      const isNew = !photos.has(photo.id);
      photos.set(photo.id, photo);
      store?.put(photo, isNew);
    },
    forget(ids) {
      for (const id of ids ?? [...photos.keys()]) photos.delete(id);
      store?.delete(ids);
    },
    setWorking: (id) => writeTab(WORKING, id),
  };
}

/** Read a value of the storage of this tab; null: there is none. */
function readTab(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null; // the user has forbidden storage
  }
}

/** Write a value into the storage of this tab; null: remove it. */
function writeTab(key: string, value: string | null): void {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    // The user has forbidden storage.
  }
}

function goneOf(isMissing: boolean, isBack: boolean, isKept: boolean): Gone {
  if (!isMissing) return null;
  if (!isKept) return "restarted";
  return isBack ? "idle" : null; // a copy of another tab never had any
}

/** Return why a photo failed whose work has ended the worker or the page. */
export const describeCrash = (name: string): Failure => ({
  error: `the work on ${name} was broken off; close other tabs, which need memory, and try again`,
  code: "server",
});

/** Take the lock of a session until the tab is closed, and return whether it was free. */
function claim(id: string): Promise<boolean> {
  return new Promise((resolve) => {
    const hold = () => {
      resolve(true);
      return new Promise(() => {});
    };
    const options = { signal: AbortSignal.timeout(CLAIM_TIME) };
    navigator.locks.request(lockOf(id), options, hold).catch(() => resolve(false));
  });
}

const lockOf = (id: string) => `photochrom ${PATH} ${id}`;

/** The records of one session in the database; the first failure ends the use of it. */
class Store {
  #database: IDBDatabase | null; // null after a failure
  readonly #id: string;
  #written = Promise.resolve(); // when all writes have begun

  constructor(database: IDBDatabase, id: string) {
    this.#database = database;
    this.#id = id;
  }

  /** Delete old sessions, and return the photos of this one; null: it does not exist. */
  async open(isBack: boolean): Promise<KeptPhoto[] | null> {
    await this.#deleteOld();
    const { sessions, photos, files } = this.#begin("readonly");
    const [session, metas, blobs, keys] = await Promise.all([
      result(sessions.get(this.#id)),
      result<Meta[]>(photos.getAll(rangeOf(this.#id))),
      result<Blob[]>(files.getAll(rangeOf(this.#id))),
      result(files.getAllKeys(rangeOf(this.#id))),
    ]);
    this.#touch();
    document.addEventListener("visibilitychange", () => this.#touch());
    if (!isBack || !session) return null;
    const ids = keys.map((key) => (key as string[])[1]);
    const known = new Map(ids.map((id, index) => [id, blobs[index]]));
    return metas
      .filter(({ id }) => known.has(id)) // a file that was too large for the database
      .map((meta) => ({ ...meta, file: known.get(meta.id)! }));
  }

  put({ file, ...meta }: KeptPhoto, isNew: boolean): void {
    const key = [this.#id, meta.id];
    // In transactions of their own: there may be no room for a file.
    if (isNew) this.#write(({ files }) => files.put(file, key));
    this.#write(({ photos }) => photos.put(meta, key));
    this.#touch();
  }

  delete(ids: string[] | null): void {
    const ranges = ids?.map((id) => IDBKeyRange.only([this.#id, id])) ?? [rangeOf(this.#id)];
    this.#write(({ photos, files }) => {
      for (const range of ranges) {
        photos.delete(range);
        files.delete(range);
      }
    });
  }

  #touch(): void {
    this.#write(({ sessions }) => sessions.put(Date.now(), this.#id));
  }

  /** Write, after earlier writes; a database that the browser has closed is opened once more. */
  #write(act: (stores: Stores) => void): void {
    const write = async () => {
      if (!this.#database) return;
      try {
        act(this.#begin());
      } catch (error) {
        if ((error as DOMException).name !== "InvalidStateError") throw error;
        this.#database = await openDatabase();
        act(this.#begin());
      }
    };
    this.#written = this.#written.then(write).catch((error) => {
      this.#database = null;
      console.error(`changes are no longer kept over a reload: ${error}`);
    });
  }

  /** Delete the sessions of tabs that were closed long ago. */
  async #deleteOld(): Promise<void> {
    const { held = [] } = await navigator.locks.query();
    const locks = new Set(held.map(({ name }) => name));
    const { sessions, photos, files } = this.#begin();
    const [ids, times] = await Promise.all([
      result(sessions.getAllKeys()),
      result<number[]>(sessions.getAll()),
    ]);
    for (const [index, id] of (ids as string[]).entries()) {
      if (locks.has(lockOf(id)) || Date.now() - times[index] < MAX_IDLE) continue;
      sessions.delete(id);
      photos.delete(rangeOf(id));
      files.delete(rangeOf(id));
    }
  }

  #begin(mode: IDBTransactionMode = "readwrite"): Stores {
    const transaction = this.#database!.transaction(["sessions", "photos", "files"], mode);
    transaction.onabort = () => {}; // no room: after a reload the photo is not there
    return {
      sessions: transaction.objectStore("sessions"),
      photos: transaction.objectStore("photos"),
      files: transaction.objectStore("files"),
    };
  }
}

/** All keys [session, photo] of a session. */
const rangeOf = (id: string) => IDBKeyRange.bound([id], [id, []]);

/** Open the database; it rejects where the browser has none, as in some private windows. */
async function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open(`photochrom ${PATH}`, 1);
  request.onupgradeneeded = () => {
    for (const name of ["sessions", "photos", "files"]) request.result.createObjectStore(name);
  };
  return result(request);
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function createKey(): string {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(36)).join("");
}
