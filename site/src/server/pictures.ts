// The pictures that the page shows, and the results: the counterpart of photochrom.web.pictures.
//
// Of each photo the file is kept, and in a cache of limited size what previews and predictions are
// made of. Photos in full size are decoded again when they are needed; one of them is kept.

import { abOf, networkSize } from "../engine/colorizer.ts";
import type { Colorizer, PreparedPhoto } from "../engine/colorizer.ts";
import { isColored } from "../engine/detection.ts";
import { applyGeometry, cropPhoto, placeOf, resultSize } from "../engine/geometry.ts";
import { placeHints } from "../engine/hints.ts";
import { noHintsError } from "../engine/network.ts";
import { downscale, inColor, keepsColors, render, renderRows } from "../engine/rendering.ts";
import { suggestColors } from "../engine/suggestions.ts";
import { hintVersions } from "../engine/versions.ts";
import {
  encodePreview,
  outputName,
  readPhoto,
  resultWarnings,
  writeResult,
} from "../files/index.ts";
import type { SourceFile } from "../files/index.ts";
import type { KeptPhoto, ModelChoice } from "../protocol.ts";
import { PhotoError } from "../types.ts";
import type { Hint, Look, Photo, Planes, Rectangle } from "../types.ts";
import { Cache } from "./cache.ts";
import { describeFailure, isBroken } from "./errors.ts";
import { DEFAULT_LOOK, checkFit, geometryKey, maxSize } from "./looks.ts";
import { RANK } from "./queue.ts";
import type { Pause, Queue } from "./queue.ts";

export const PREVIEW_SIZE = 1600; // px of the long side, at most
export const THUMBNAIL_SIZE = 320;
export const MAX_REGION = 2048;
const MAX_PIXELS = 100_000_000; // of one photo
const STEP = 500_000; // pixels that are rendered before other work can go first
const VERSION_SIZES = [128, 192, 256, 384]; // sizes whose results differ clearly
const MAX_VERSION_SETS = 20; // answers for one photo that are kept, for undo

/** A photo on the page. */
export interface PagePhoto extends KeptPhoto {
  status: "waiting" | "working" | "ready" | "failed";
  /** Stops the preparation. */
  preparation: AbortController | null;
  versions: { key: string; hints: Hint[][] }[];
}

export class Pictures {
  readonly #model: ModelChoice;
  readonly #colorizer: Promise<Colorizer>;
  readonly #queue: Queue;
  readonly #cache: Cache;
  readonly #onChange: (photo: PagePhoto) => void;
  #modelSize: number | null = null;
  #source: { key: string; file: SourceFile } | null = null; // the latest
  #shaped: { key: string; photo: Photo } | null = null; // the latest that was cut or turned

  /**
   * @param colorizer What needs the network waits for it.
   * @param maxBytes Of decoded previews and predictions that are kept.
   * @param onChange Called when the status of a photo has changed.
   * @param onFault Called with every error of a preparation.
   * @param onMade Called when something was made once the network was loaded.
   */
  constructor(
    model: ModelChoice,
    colorizer: Promise<Colorizer>,
    queue: Queue,
    maxBytes: number,
    onChange: (photo: PagePhoto) => void,
    readonly onFault: (error: unknown, photo: PagePhoto) => void,
    readonly onMade: () => void,
  ) {
    this.#model = model;
    this.#colorizer = colorizer;
    colorizer.then(
      ({ network }) => (this.#modelSize = network.size),
      () => {}, // what needs it fails
    );
    this.#queue = queue;
    this.#cache = new Cache(maxBytes);
    this.#onChange = onChange;
  }

  /** Queue the first prediction of a photo. */
  async prepare(photo: PagePhoto): Promise<void> {
    const { signal } = (photo.preparation = new AbortController());
    photo.status = "waiting";
    photo.failure = null;
    try {
      await this.#run(RANK.preparation, photo, (pause) => this.#prepare(photo, pause), signal);
      photo.status = "ready";
    } catch (error) {
      if (signal.aborted && !isBroken(error)) return;
      this.onFault(error, photo);
      photo.status = "failed";
      photo.failure = describeFailure(error, photo.name);
    }
    this.#onChange(photo);
  }

  async #prepare(photo: PagePhoto, pause: Pause): Promise<void> {
    photo.status = "working";
    // Whether the crop and the size of the saved look fit the photo is not known yet.
    const { model, truncated } = photo.look;
    const look = { ...DEFAULT_LOOK, model, truncated };
    const source = await this.#read(photo, truncated);
    const { width, height } = source.photo;
    photo.info = {
      width,
      height,
      pages: source.pages,
      inColor: source.isMarked || isColored(source.photo),
      warnings: resultWarnings(source, look),
    };
    await this.#coefficients(photo, look, pause);
  }

  /** Forget what was made of a photo. */
  forget(photo: PagePhoto): void {
    photo.preparation?.abort();
    this.#cache.drop(`${photo.id}/`);
    if (this.#source?.key.startsWith(photo.id)) this.#source = null;
    if (this.#shaped?.key.startsWith(photo.id)) this.#shaped = null;
  }

  /** Return the largest `size` of a photo's look; null: it is not known yet. */
  maxSize({ info }: PagePhoto): number | null {
    return info && this.#modelSize && maxSize(info.width, info.height, this.#modelSize);
  }

  /** Return a preview of the original with the geometry of a look, encoded. */
  original(photo: PagePhoto, look: Look, size: number, signal?: AbortSignal): Promise<Blob> {
    return this.#queue.run(
      rankOf(size),
      photo.id,
      async (pause) => encodePreview(downscale(await this.#preview(photo, look, pause), size)),
      signal,
    );
  }

  /** Return a preview in colour, encoded. */
  preview(photo: PagePhoto, look: Look, size: number, signal?: AbortSignal): Promise<Blob> {
    return this.#run(
      rankOf(size),
      photo,
      async (pause) => {
        const coefficients = await this.#coefficients(photo, look, pause);
        const preview = downscale(await this.#preview(photo, look, pause), size);
        return encodePreview(render(preview, coefficients, look));
      },
      signal,
    );
  }

  /** Return a rectangle of the result, or of the original, encoded. */
  async region(
    photo: PagePhoto,
    look: Look,
    side: string,
    region: Rectangle,
    maxSide: number,
    signal?: AbortSignal,
  ): Promise<Blob> {
    checkRegion(region, resultSize(look, photo.info!.width, photo.info!.height));
    return this.#run(
      RANK.picture,
      photo,
      async (pause) => {
        const isAfter = side === "after";
        const coefficients = isAfter ? await this.#coefficients(photo, look, pause) : null;
        await pause();
        const whole = await this.#full(photo, look);
        const part = coefficients
          ? render(whole, coefficients, { ...look, region })
          : cropPhoto(whole, region);
        return encodePreview(downscale(part, maxSide));
      },
      signal,
    );
  }

  /** Return colours for a place, in px of the upright photo, and why each is suggested. */
  async suggestions(photo: PagePhoto, look: Look, x: number, y: number, signal?: AbortSignal) {
    if (!this.#model.takesHints) throw noHintsError(this.#model.name);
    const { width, height } = photo.info!;
    if (!(x >= 0 && x < width && y >= 0 && y < height)) {
      throw new PhotoError(
        `the place ${x},${y} lies outside the photo of ${width}x${height} pixels; x has to be ` +
          `from 0 to ${width - 1}, y from 0 to ${height - 1}`,
      );
    }
    const place = placeOf(look, x, y, width, height);
    if (!place) {
      throw new PhotoError(
        `the place ${x},${y} lies in a part of the photo that is cropped away; choose one inside ` +
          "of the crop",
      );
    }
    const hints = look.hints.filter((hint) => hint.x !== x || hint.y !== y);
    const [w, h] = resultSize(look, width, height);
    return this.#run(
      RANK.picture,
      photo,
      async (pause) => {
        const coefficients = await this.#coefficients(photo, { ...look, hints }, pause);
        const prepared = await this.#prepared(photo, look, pause);
        return suggestColors(prepared, abOf(prepared, coefficients), place[0] / w, place[1] / h);
      },
      signal,
    );
  }

  /** Return changes of a look whose results differ: of its hints, or of its size. */
  async versions(photo: PagePhoto, look: Look, signal?: AbortSignal): Promise<Partial<Look>[]> {
    if (!this.#model.takesHints) return this.#sizeVersions(photo, look);
    const { width, height } = photo.info!;
    const key = `${geometryKey(look)}/${look.size}`;
    const text = JSON.stringify(look.hints);
    const isOne = (each: Hint[]) => JSON.stringify(each) === text;
    let found = photo.versions.findLast((each) => each.key === key && each.hints.some(isOne));
    if (!found) {
      const hints = await this.#run(
        RANK.versions,
        photo,
        async (pause) => {
          const colorizer = pausing(await this.#colorizer, pause);
          checkFit(look, photo.info!, colorizer.network.size);
          const prepared = await this.#prepared(photo, look, pause);
          return hintVersions(colorizer, prepared, look.hints, look, [width, height]);
        },
        signal,
      );
      found = { key, hints };
      photo.versions = [...photo.versions, found].slice(-MAX_VERSION_SETS);
    }
    return found.hints.map((hints) => ({ hints }));
  }

  async #sizeVersions(photo: PagePhoto, look: Look): Promise<Partial<Look>[]> {
    const own = (await this.#colorizer).network.size;
    const [width, height] = resultSize(look, photo.info!.width, photo.info!.height);
    const largest = maxSize(width, height, own);
    const sizes = new Map<string, number>();
    for (const size of VERSION_SIZES) {
      if (size <= largest) sizes.set(networkSize(width, height, size).join(), size);
    }
    return [...sizes.values()].map((size) => ({ size: size === own ? null : size }));
  }

  /** Return the result in full size: the file, and its name. */
  async result(
    photo: PagePhoto,
    look: Look,
    signal?: AbortSignal,
    rank: number = RANK.result,
  ): Promise<File> {
    const { width, height } = photo.info!;
    const work = async (pause: Pause) => {
      const coefficients = await this.#coefficients(photo, look, pause);
      await pause();
      const [source, whole] = await this.#take(photo, look);
      const step = Math.max(1, Math.floor(STEP / whole.width));
      for (let top = 0; top < whole.height; top += step) {
        renderRows(whole, coefficients, look, top, Math.min(whole.height, top + step));
        await pause();
      }
      const colored = keepsColors(whole, look.strength) ? whole : inColor(whole);
      const hintCount = placeHints(look.hints, [width, height], look).length;
      const options = { look, modelName: this.#model.name, hintCount, signal };
      return writeResult(source, colored, options);
    };
    const blob = await this.#run(rank, photo, work, signal);
    return new File([blob], outputName(photo.name, look), { type: blob.type });
  }

  /** Do some work of a photo once the network is loaded. */
  async #run<T>(
    rank: number,
    photo: PagePhoto,
    work: (pause: Pause) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    await this.#colorizer;
    const made = await this.#queue.run(rank, photo.id, work, signal);
    this.onMade();
    return made;
  }

  /** Return what colours are made of; the network is run if it is not kept. */
  async #coefficients(photo: PagePhoto, look: Look, pause: Pause): Promise<Planes> {
    const colorizer = pausing(await this.#colorizer, pause);
    const { width, height } = photo.info!;
    checkFit(look, photo.info!, colorizer.network.size);
    const key = `${predictionKey(photo, look)}/${JSON.stringify(look.hints)}`;
    const predict = async () => {
      const preview = await this.#preview(photo, look, pause);
      const prepared = await this.#prepared(photo, look, pause);
      const placed = placeHints(look.hints, [width, height], look);
      return colorizer.predict(prepared, placed, preview.space);
    };
    return this.#cache.get(key, predict, planesBytes);
  }

  /** Return what the network needs of a photo. */
  #prepared(photo: PagePhoto, look: Look, pause: Pause): Promise<PreparedPhoto> {
    const prepare = async () => {
      const colorizer = await this.#colorizer;
      await this.#full(photo, look);
      await pause(); // another job may take its place meanwhile
      return colorizer.prepare(await this.#full(photo, look), look.size);
    };
    return this.#cache.get(`${predictionKey(photo, look)}/prepared`, prepare, preparedBytes);
  }

  /** Return a copy of a photo in the size of a preview, with the geometry of a look. */
  #preview(photo: PagePhoto, look: Look, pause: Pause): Promise<Photo> {
    const make = async () => {
      await pause();
      return downscale(await this.#full(photo, look), PREVIEW_SIZE);
    };
    return this.#cache.get(`${photo.id}/${geometryKey(look)}/preview`, make, photoBytes);
  }

  /** Return a photo in full size with the geometry of a look; it is not to be changed. */
  async #full(photo: PagePhoto, look: Look): Promise<Photo> {
    const key = `${photo.id}/${geometryKey(look)}`;
    if (this.#shaped?.key === key) return this.#shaped.photo;
    const upright = (await this.#read(photo, look.truncated)).photo;
    this.#shaped = null;
    const shaped = applyGeometry(upright, look);
    if (shaped !== upright) this.#shaped = { key, photo: shaped };
    return shaped;
  }

  /** Return a file and its photo as of `#full`, which may be changed: nobody else has it. */
  async #take(photo: PagePhoto, look: Look): Promise<[SourceFile, Photo]> {
    const whole = await this.#full(photo, look);
    const source = await this.#read(photo, look.truncated);
    this.#source = this.#shaped = null;
    const pixels = new Uint8ClampedArray(0); // so that those before the geometry can be freed
    return [{ ...source, photo: { ...source.photo, pixels } }, whole];
  }

  /** Return the decoded file of a photo. */
  async #read(photo: PagePhoto, truncated: boolean): Promise<SourceFile> {
    const key = `${photo.id}/${truncated}`;
    if (this.#source?.key === key) return this.#source.file;
    this.#source = this.#shaped = null; // before there is memory for another
    const options = { truncated, maxPixels: MAX_PIXELS };
    const file = await readPhoto(photo.file, photo.name, options);
    this.#source = { key, file };
    return file;
  }
}

/** Return a colorizer that lets other work go first before and after each run of the network. */
function pausing(colorizer: Colorizer, pause: Pause): Colorizer {
  const predictAb: Colorizer["predictAb"] = async (...inputs) => {
    await pause();
    const ab = await colorizer.predictAb(...inputs);
    await pause();
    return ab;
  };
  return Object.assign(Object.create(colorizer), { predictAb });
}

const rankOf = (size: number) => (size > THUMBNAIL_SIZE ? RANK.picture : RANK.thumbnail);

const predictionKey = (photo: PagePhoto, look: Look) =>
  `${photo.id}/${geometryKey(look)}/${look.size ?? ""}`;

const photoBytes = ({ pixels }: Photo) => pixels.byteLength;
const planesBytes = ({ data }: Planes) => data.byteLength;
const preparedBytes = ({ L, smallL, unhintedAb, ownAb }: PreparedPhoto) =>
  [L, smallL, unhintedAb, ...(ownAb ? [ownAb] : [])]
    .map(planesBytes)
    .reduce((sum, bytes) => sum + bytes);

function checkRegion(region: Rectangle, [width, height]: [number, number]): void {
  const [left, top, w, h] = region;
  if (!(left >= 0 && top >= 0 && w >= 1 && h >= 1 && left + w <= width && top + h <= height)) {
    throw new PhotoError(
      `the region ${region.join(",")} (left, top, width, height) reaches out of the result of ` +
        `${width}x${height} pixels; give one inside of it`,
    );
  }
  if (Math.max(w, h) > MAX_REGION) {
    throw new PhotoError(
      `the region has ${w}x${h} pixels; it has to have at most ${MAX_REGION}x${MAX_REGION}`,
    );
  }
}
