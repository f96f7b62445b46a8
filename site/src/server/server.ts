// The answers to the page's requests: the counterpart of web/page.py, for the photos of one tab.

import type { Colorizer } from "../engine/colorizer.ts";
import { sanitizeName } from "../files/index.ts";
import type { Answer, FromWorker, Gone, KeptPhoto, ModelChoice } from "../protocol.ts";
import { ModelError, PhotoError } from "../types.ts";
import type { Rectangle } from "../types.ts";
import { Archive } from "./archive.ts";
import { HttpError, asPhotoError, isBroken } from "./errors.ts";
import { DEFAULT_LOOK, changeLook, checkFit, checkLook, lookFromQuery } from "./looks.ts";
import { MAX_REGION, PREVIEW_SIZE, Pictures, THUMBNAIL_SIZE } from "./pictures.ts";
import type { PagePhoto } from "./pictures.ts";
import { Queue } from "./queue.ts";

const MAX_PHOTOS = 500;
const MAX_ARCHIVES = 4; // besides those that are being made

export interface PageRequest {
  method: string;
  /** Relative to the page, with its query. */
  path: string;
  json?: unknown;
  file?: Blob;
}

export interface ServerOptions {
  /** Photos of an earlier visit. */
  photos: KeptPhoto[];
  gone: Gone;
  model: ModelChoice;
  /** Bytes of decoded previews and predictions that are kept. */
  memory: number;
  /** What needs the network waits for it. */
  colorizer: Promise<Colorizer>;
  /** Gets what is to be kept over a reload, and what is worked on. */
  post: (message: FromWorker) => void;
}

export class Server {
  readonly #photos = new Map<string, PagePhoto>();
  readonly #archives = new Map<string, Archive>();
  readonly #queue: Queue;
  readonly #pictures: Pictures;
  readonly #colorizer: Promise<Colorizer>;
  readonly #model: ModelChoice;
  readonly #post: (message: FromWorker) => void;
  #gone: Gone;
  #count = 0; // photos that were ever added

  constructor({ photos, gone, model, memory, colorizer, post }: ServerOptions) {
    this.#gone = gone;
    this.#model = model;
    this.#post = post;
    this.#colorizer = colorizer;
    this.#queue = new Queue((photo) => post({ type: "working", photo }));
    this.#pictures = new Pictures(
      model,
      colorizer,
      this.#queue,
      memory,
      (photo) => this.#keep(photo),
      (error, photo) => this.#report(error, photo.id),
      () => post({ type: "made" }),
    );
    for (const kept of [...photos].sort((a, b) => a.number - b.number)) this.#restore(kept);
  }

  #restore(kept: KeptPhoto): void {
    const status = kept.failure ? "failed" : kept.info ? "ready" : "waiting";
    // The site may have another model and further options since then.
    const look = { ...DEFAULT_LOOK, ...kept.look, model: this.#model.name };
    const photo: PagePhoto = {
      ...kept,
      look,
      status,
      preparation: null,
      versions: [],
    };
    this.#photos.set(photo.id, photo);
    this.#count = Math.max(this.#count, photo.number + 1);
    if (status === "waiting") void this.#pictures.prepare(photo);
  }

  /** Answer a request; `signal` cancels the work, after which the answer is of no use. */
  async handle(request: PageRequest, signal?: AbortSignal): Promise<Answer> {
    const url = new URL(request.path, "http://page/");
    const [, kind, id, action = ""] = url.pathname.split("/");
    try {
      if (kind === "photos" && !id) return this.#handlePhotos(request, url.searchParams);
      if (kind === "photos") {
        const photo = this.#photos.get(id);
        if (!photo) throw new HttpError(404, "this photo is not on the page; add it again");
        try {
          return await this.#handlePhoto(photo, action, request, url.searchParams, signal);
        } catch (error) {
          throw isBroken(error) ? error : asPhotoError(error, photo.name);
        }
      }
      if (kind === "archives" && !id) return this.#startArchive(request.json);
      if (kind === "archives") return await this.#handleArchive(id, action, request.method);
      throw new HttpError(404, `there is no ${url.pathname}`);
    } catch (error) {
      if (signal?.aborted && !isBroken(error)) {
        return json({ detail: "the request was cancelled" }, 499);
      }
      this.#report(error, kind === "photos" ? id : null);
      return json({ detail: (error as Error).message }, statusOf(error));
    }
  }

  #handlePhotos({ method, file }: PageRequest, query: URLSearchParams): Answer {
    if (method === "POST") return json(this.#add(query.get("name")!, file!), 201);
    if (method === "DELETE") {
      for (const photo of this.#photos.values()) this.#pictures.forget(photo);
      for (const archive of this.#archives.values()) archive.stop();
      this.#photos.clear();
      this.#archives.clear();
      this.#post({ type: "forget", ids: null });
      return NO_CONTENT;
    }
    const photos = [...this.#photos.values()].map((each) => this.#describe(each));
    return json({ server: "", gone: this.#photos.size ? null : this.#gone, photos });
  }

  #add(name: string, file: Blob) {
    if (this.#photos.size >= MAX_PHOTOS) {
      throw new HttpError(
        409,
        `there are ${MAX_PHOTOS} photos on the page, which is the limit; download and remove ` +
          "some first",
      );
    }
    const photo: PagePhoto = {
      id: createId(),
      name: sanitizeName(name),
      file,
      look: { ...DEFAULT_LOOK, model: this.#model.name },
      number: this.#count++,
      info: null,
      failure: null,
      status: "waiting",
      preparation: null,
      versions: [],
    };
    this.#gone = null;
    this.#photos.set(photo.id, photo);
    this.#keep(photo);
    void this.#pictures.prepare(photo);
    return this.#describe(photo);
  }

  async #handlePhoto(
    photo: PagePhoto,
    action: string,
    { method, json: changes }: PageRequest,
    query: URLSearchParams,
    signal?: AbortSignal,
  ): Promise<Answer> {
    if (method === "DELETE") {
      this.#photos.delete(photo.id);
      this.#pictures.forget(photo);
      this.#post({ type: "forget", ids: [photo.id] });
      return NO_CONTENT;
    }
    if (method !== "GET") {
      const look = checkLook(changeLook(photo.look, changes), this.#model);
      if (action === "retry" && photo.status === "failed") {
        photo.look = look;
        void this.#pictures.prepare(photo);
      } else if (action === "") {
        if (photo.info) await this.#checkFit(photo, look);
        photo.look = look;
      }
      this.#keep(photo);
      return json(this.#describe(photo));
    }
    const look = checkLook(lookFromQuery(query), this.#model);
    if (photo.status !== "ready") throw new HttpError(409, `${photo.name} is not ready`);
    const number = (key: string) => Number(query.get(key));
    const size = (most: number) => Math.min(most, Number(query.get("max_size") ?? most));
    switch (action) {
      case "before":
        return picture(await this.#pictures.original(photo, look, size(PREVIEW_SIZE), signal));
      case "after":
        return picture(await this.#pictures.preview(photo, look, size(PREVIEW_SIZE), signal));
      case "thumbnail":
        return picture(await this.#pictures.preview(photo, look, THUMBNAIL_SIZE, signal));
      case "region": {
        const region = ["left", "top", "width", "height"].map(number) as Rectangle;
        const side = query.get("side") ?? "after";
        const most = size(MAX_REGION);
        return picture(await this.#pictures.region(photo, look, side, region, most, signal));
      }
      case "versions":
        return json({ versions: await this.#pictures.versions(photo, look, signal) });
      case "suggestions": {
        const [x, y] = [number("x"), number("y")];
        return json({ colors: await this.#pictures.suggestions(photo, look, x, y, signal) });
      }
      case "result":
        return attachment(await this.#pictures.result(photo, look, signal));
      default:
        throw new HttpError(404, `there is no picture ${action}`);
    }
  }

  async #checkFit(photo: PagePhoto, look: PagePhoto["look"]): Promise<void> {
    // Only a size depends on the model, which may still be loading.
    const modelSize = look.size === null ? 0 : (await this.#colorizer).network.size;
    checkFit(look, photo.info!, modelSize);
  }

  #startArchive(body: unknown): Answer {
    const { photos } = body as { photos: { id: string; look: unknown }[] };
    if (!photos.length) throw new HttpError(400, "the list of photos is empty; give at least one");
    const items = photos.map(({ id, look }) => {
      const photo = this.#photos.get(id);
      if (!photo) throw new HttpError(404, "this photo is not on the page; add it again");
      return { photo, look: checkLook(changeLook(DEFAULT_LOOK, look), this.#model) };
    });
    const id = createId();
    this.#archives.set(id, new Archive(items));
    for (const [old, archive] of [...this.#archives].slice(0, -MAX_ARCHIVES)) {
      if (!archive.isActive) this.#archives.delete(old);
    }
    return json({ id }, 201);
  }

  async #handleArchive(id: string, action: string, method: string): Promise<Answer> {
    const archive = this.#findArchive(id);
    if (method === "DELETE") {
      archive.stop();
      return NO_CONTENT;
    }
    if (!action) return json(archive.status());
    if (archive.isStarted) {
      throw new HttpError(409, "this zip was downloaded already; start another one");
    }
    const content = await archive.make(this.#pictures, ({ id }) => this.#photos.has(id));
    this.#findArchive(id); // all photos may have been removed meanwhile
    return attachment(new File([content], "photochrom.zip", { type: "application/zip" }));
  }

  #findArchive(id: string): Archive {
    const archive = this.#archives.get(id);
    if (!archive) throw new HttpError(404, "this zip is not here any more; start another one");
    return archive;
  }

  /** Return the state of a photo as the page knows it. */
  #describe(photo: PagePhoto) {
    const { info, look, status } = photo;
    const notes = [
      ...(info?.inColor ? ["in_color"] : []),
      ...(info && look.truncated ? ["truncated"] : []),
    ];
    return {
      id: photo.id,
      name: photo.name,
      status,
      position: status === "waiting" ? (this.#queue.position(photo.id) ?? 1) : null,
      error: photo.failure?.error ?? null,
      error_code: photo.failure?.code ?? null,
      width: info?.width ?? null,
      height: info?.height ?? null,
      pages: info?.pages ?? null,
      look,
      max_size: this.#pictures.maxSize(photo),
      notes,
      warnings: (info?.warnings ?? []).map(sentence),
    };
  }

  #keep(photo: PagePhoto): void {
    if (!this.#photos.has(photo.id)) return;
    const { id, name, file, look, number, info, failure } = photo;
    this.#post({ type: "keep", photo: { id, name, file, look, number, info, failure } });
  }

  /** Report an error after which nothing works any more. */
  #report(error: unknown, photo: string | null): void {
    if (isBroken(error)) this.#post({ type: "broken", error: (error as Error).message, photo });
    else if (statusOf(error) === 500) console.error(error);
  }
}

const NO_CONTENT: Answer = { status: 204, headers: {}, body: null };

function json(value: unknown, status = 200): Answer {
  const headers = { "Content-Type": "application/json" };
  return { status, headers, body: JSON.stringify(value) };
}

const picture = (content: Blob): Answer => ({
  status: 200,
  headers: { "Content-Type": content.type },
  body: content,
});

function attachment(file: File): Answer {
  const disposition = `attachment; filename*=utf-8''${encodeURIComponent(file.name)}`;
  const headers = { "Content-Type": file.type, "Content-Disposition": disposition };
  return { status: 200, headers, body: file };
}

function statusOf(error: unknown): number {
  if (error instanceof HttpError) return error.status;
  return error instanceof PhotoError || error instanceof ModelError ? 400 : 500;
}

const sentence = (phrase: string) => `${phrase[0].toUpperCase()}${phrase.slice(1)}.`;

/** Return 16 random hexadecimal digits. */
function createId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
