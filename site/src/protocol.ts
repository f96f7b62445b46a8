// What the page and its worker tell each other.

import type { Look } from "./types.ts";

/** A photo as it is kept over a reload: the file, and what is known of it. */
export interface KeptPhoto {
  id: string;
  name: string;
  file: Blob;
  look: Look;
  /** The order of arrival, increasing. */
  number: number;
  info: PhotoInfo | null;
  /** Why it failed; null: it did not. */
  failure: Failure | null;
}

export interface PhotoInfo {
  /** Of the upright photo, in px. */
  width: number;
  height: number;
  pages: number;
  inColor: boolean;
  /** What a result loses in the photo's own format, each a phrase. */
  warnings: string[];
}

/** `code` as of the server; "server": the photo is not the reason, it can be tried again. */
export interface Failure {
  error: string;
  code: "truncated" | "too_large" | "server" | null;
}

/** Why there are no photos of an earlier visit of this tab, as of the server. */
export type Gone = "idle" | "restarted" | null;

export type ToWorker =
  /** The first message. */
  | { type: "start"; photos: KeptPhoto[]; gone: Gone; model: ModelChoice; memory: number }
  /** The files of the engine; what needs the network waits for it. */
  | { type: "engine"; runtime: ArrayBuffer; model: ArrayBuffer }
  | { type: "request"; id: number; method: string; path: string; json?: unknown; file?: Blob }
  | { type: "cancel"; id: number };

export type FromWorker =
  | { type: "answer"; id: number; answer: Answer }
  /** To be kept over a reload, in place of an older state. */
  | { type: "keep"; photo: KeptPhoto }
  /** Photos to be deleted; null: all. */
  | { type: "forget"; ids: string[] | null }
  /** The photo that is worked on from now on; it is to blame if the worker dies. */
  | { type: "working"; photo: string | null }
  /** The engine has made something of a photo. */
  | { type: "made" }
  /** The worker can no longer be used; the photo, if it is known, is to blame. */
  | { type: "broken"; error: string; photo: string | null };

/** The model of the page, as far as it is known before it is loaded. */
export interface ModelChoice {
  name: string;
  takesHints: boolean;
}

export interface Answer {
  status: number;
  headers: Record<string, string>;
  /** null: none. */
  body: Blob | string | null;
}
