import { readFileSync } from "node:fs";
import { afterEach, beforeAll, expect, test } from "vitest";

import { SRGB } from "../src/engine/color.ts";
import { Colorizer } from "../src/engine/colorizer.ts";
import type { Network } from "../src/engine/network.ts";
import { encodePreview, initCodecs, readPhoto } from "../src/files/index.ts";
import type { FromWorker, KeptPhoto } from "../src/protocol.ts";
import { Server } from "../src/server/server.ts";
import type { ServerOptions } from "../src/server/server.ts";
import type { Hint, Look, Photo, Planes } from "../src/types.ts";

const MODULES = new URL("../node_modules/", import.meta.url);
const CODECS = {
  "mozjpeg_dec.wasm": "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm",
  "libjpegturbowasm.wasm": "@cornerstonejs/codec-libjpeg-turbo-8bit/dist/libjpegturbowasm.wasm",
};

/** A network that sees brown in light, and the colours of hints around them. */
const network = {
  name: "tiny",
  size: 32,
  takesHints: true,
  async predict({ width, height, data }: Planes, hints: Planes | null = null): Promise<Planes> {
    const size = width * height;
    const count = hints?.data.slice(2 * size).reduce((sum, each) => sum + each) || 1;
    const mean = (axis: number) =>
      (hints?.data.slice(axis * size, (axis + 1) * size).reduce((sum, each) => sum + each) ?? 0) /
      count;
    const [a, b] = [mean(0), mean(1)];
    const ab = new Float32Array(2 * size);
    for (let i = 0; i < size; i++) {
      ab[i] = data[i] / 10 + a / 2;
      ab[size + i] = data[i] / 5 + b / 2;
    }
    return { count: 2, width, height, data: ab };
  },
};
const colorizer = new Colorizer(network as unknown as Network);
let posted: FromWorker[] = [];

beforeAll(() => {
  initCodecs(async (file) => toBuffer(readFileSync(new URL(CODECS[file], MODULES))));
});

afterEach(() => {
  posted = [];
});

const toBuffer = ({ buffer, byteOffset, byteLength }: Buffer) =>
  buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;

/** Return a file of a photo with a bright square on a dark ground, in a warm grey. */
function makeFile(width = 96, height = 64, side = 32): Promise<Blob> {
  const pixels = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const level = x < side && y < side ? 180 : 40 + x / 2 + y;
      pixels.set([level, level * 0.97, level * 0.9, 255], 4 * (y * width + x));
    }
  }
  const photo = { width, height, pixels, isGrey: false, hasAlpha: false, space: SRGB };
  return encodePreview(photo);
}

function start(options: Partial<ServerOptions> = {}) {
  const model = { name: colorizer.network.name, takesHints: true };
  const server = new Server({
    ...{ photos: [], gone: null, model, memory: 1e8 },
    colorizer: Promise.resolve(colorizer),
    post: (message) => posted.push(message),
    ...options,
  });
  const ask = async (path: string, request = {}, signal?: AbortSignal) => {
    const answer = await server.handle({ method: "GET", path, ...request }, signal);
    return { ...answer, json: typeof answer.body === "string" ? JSON.parse(answer.body) : null };
  };
  /** Add a file, wait until it is ready or has failed, and return its state. */
  const add = async (file: Blob, name = "a.jpg") => {
    const { json, status } = await ask(`photos?name=${name}`, { method: "POST", file });
    expect(status).toBe(201);
    return waitFor(json.id);
  };
  const waitFor = async (id: string) => {
    for (;;) {
      const { photos } = (await ask("photos")).json;
      const state = photos.find((each: { id: string }) => each.id === id);
      if (!["waiting", "working"].includes(state.status)) return state;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return { ask, add, waitFor };
}

/** Return the photo of a picture that the server has answered. */
async function decode(body: Blob | string | null): Promise<Photo> {
  const { photo } = await readPhoto(body as Blob, "a.jpg", { truncated: false, maxPixels: 1e8 });
  return photo;
}

/** Return the mean difference of red and blue. */
function warmth({ pixels }: Photo): number {
  let sum = 0;
  for (let i = 0; i < pixels.length; i += 4) sum += pixels[i] - pixels[i + 2];
  return (4 * sum) / pixels.length;
}

test("a photo is added, shown and downloaded", async () => {
  const { ask, add } = start();
  const state = await add(await makeFile(), "folder/a%26b.jpg");
  expect(state).toMatchObject({ name: "a&b.jpg", status: "ready", error: null, notes: [] });
  expect(state).toMatchObject({ width: 96, height: 64, pages: 1 });
  expect(state).not.toHaveProperty("output_name"); // nor what else no page reads
  expect(state).not.toHaveProperty("revision");
  const path = `photos/${state.id}`;
  const before = await ask(`${path}/before?max_size=48`);
  expect(before.headers["Content-Type"]).toBe("image/jpeg");
  expect(await decode(before.body)).toMatchObject({ width: 48, height: 32 });
  for (const action of ["after", "thumbnail", "result"]) {
    const { status, body } = await ask(`${path}/${action}?strength=1`);
    expect(status).toBe(200);
    expect(await decode(body)).toMatchObject({ width: 96, height: 64 });
  }
  const { headers } = await ask(`${path}/result?turn=90&format=jpeg`);
  expect(headers["Content-Disposition"]).toBe("attachment; filename*=utf-8''a%26b-color.jpg");
});

test("the look decides over a picture", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const red = "hints=16,16,%23c02020";
  const show = async (query: string) => decode((await ask(`photos/${id}/after?${query}`)).body);
  const [plain, hinted, none] = await Promise.all([
    show(""),
    show(red),
    show("strength=0&saturation=3"),
  ]);
  expect(warmth(hinted)).toBeGreaterThan(warmth(plain) + 2);
  const original = await decode((await ask(`photos/${id}/before`)).body);
  expect(Math.abs(warmth(none) - warmth(original))).toBeLessThan(0.5);
  expect(await show("turn=90&crop=0,0,40,50")).toMatchObject({ width: 40, height: 50 });
});

test("a region is a part of the result", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const region = "region?left=8&top=4&width=40&height=30";
  for (const side of ["before", "after"]) {
    const { body } = await ask(`photos/${id}/${region}&side=${side}&turn=180`);
    expect(await decode(body)).toMatchObject({ width: 40, height: 30 });
  }
  const outside = await ask(`photos/${id}/region?left=80&top=0&width=40&height=30`);
  expect(outside.status).toBe(400);
  expect(outside.json.detail).toBe(
    "the region 80,0,40,30 (left, top, width, height) reaches out of the result of 96x64 pixels; " +
      "give one inside of it",
  );
});

test("a result is the same again, and after the work on other photos", async () => {
  const { ask, add } = start({ memory: 1e5 }); // so that next to nothing is kept
  const [first, second] = [await add(await makeFile()), await add(await makeFile(64, 96, 40))];
  const get = async (id: string, action: string) => {
    const { body } = await ask(`photos/${id}/${action}`);
    return [...new Uint8Array(await (body as Blob).arrayBuffer())];
  };
  const results = [await get(first.id, "result"), await get(first.id, "after")];
  await Promise.all([get(second.id, "result"), get(second.id, "after"), get(first.id, "result")]);
  expect([await get(first.id, "result"), await get(first.id, "after")]).toEqual(results);
});

test("suggestions and versions of a place", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const { colors } = (await ask(`photos/${id}/suggestions?x=10&y=10`)).json;
  expect(colors[0].kind).toBe("model");
  expect(colors[0].color).toMatch(/^#[0-9a-f]{6}$/);
  const { versions } = (await ask(`photos/${id}/versions`)).json;
  expect(versions[0]).toEqual({ hints: [] });
  // A version that is chosen shows the versions that it is one of.
  const { hints }: { hints: Hint[] } = versions.at(-1);
  const query = hints.map(({ x, y, color }) => `${x},${y},${color}`).join(";");
  const again = await ask(`photos/${id}/versions?${new URLSearchParams({ hints: query })}`);
  expect(again.json).toEqual({ versions });
  const outside = await ask(`photos/${id}/suggestions?x=96&y=10`);
  expect(outside.status).toBe(400);
  expect(outside.json.detail).toContain("96,10");
});

test("a look is checked, saved and kept", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const save = (json: unknown) => ask(`photos/${id}`, { method: "PATCH", json });
  const saved = await save({ strength: 0.5, hints: [{ x: 1, y: 2, color: "RED" }] });
  expect(saved.json.look).toMatchObject({ strength: 0.5, hints: [{ x: 1, y: 2, color: "red" }] });
  const kept = posted.filter((message) => message.type === "keep");
  expect(kept.at(-1)!.photo.look.strength).toBe(0.5);
  for (const [changes, detail] of [
    [{ strength: 2 }, "strength is 2; it has to be from 0 to 1"],
    [{ strength: "1" }, "strength is '1'; it has to be a number"],
    [{ turn: 45 }, "turn is 45; it has to be 0, 90, 180 or 270, in degrees clockwise"],
    [{ colour: 1 }, "there is no option 'colour'; it has to be one of saturation"],
    [JSON.parse('{"toString": 1}'), "there is no option 'toString'; it has to be one of"],
    [{ model: "other" }, "there is no model 'other'; it has to be"],
    [{ hints: [{ x: 99, y: 1, color: "red" }] }, "lies outside the photo of 96x64 pixels"],
    [{ crop: [0, 0, 97, 10] }, "reaches out of the photo of 96x64"],
    [{ crop: [0, 0, 1.5, 10] }, "crop is '0,0,1.5,10'; it has to be left, top, width and height"],
    [{ size: 65 }, "size is 65; for this photo of 96x64 pixels it has to be from 16 to 64"],
  ] as const) {
    const refused = await save(changes);
    expect(refused.status).toBe(400);
    expect(refused.json.detail).toContain(detail);
  }
  expect((await ask(`photos`)).json.photos[0].look.strength).toBe(0.5);
});

test("what is no photo fails with a sentence, and is tried again", async () => {
  const { ask, add, waitFor } = start();
  const state = await add(new Blob(["no photo"]), "notes.jpg");
  expect(state).toMatchObject({ status: "failed", width: null });
  expect(state.error).toContain("notes.jpg");
  expect((await ask(`photos/${state.id}/after`)).status).toBe(409);
  const again = await ask(`photos/${state.id}/retry`, { method: "POST", json: {} });
  expect(again.json).toMatchObject({ status: "waiting", error: null });
  expect(await waitFor(state.id)).toMatchObject({ status: "failed" });
});

test("photos of an earlier visit are there again, in their order", async () => {
  const first = start();
  const ids = [(await first.add(await makeFile())).id, (await first.add(await makeFile())).id];
  const kept = new Map<string, KeptPhoto>();
  for (const message of posted) {
    if (message.type === "keep") kept.set(message.photo.id, message.photo);
  }
  const failure = { error: "the work on a.jpg was broken off", code: "server" as const };
  kept.set(ids[1], { ...kept.get(ids[1])!, failure });
  const old = kept.get(ids[0])!;
  kept.set(ids[0], { ...old, look: { ...old.look, model: "older" } }); // of the site at that time
  const { ask } = start({ photos: [...kept.values()].reverse(), gone: null });
  const { photos } = (await ask("photos")).json;
  expect(photos.map(({ id }: { id: string }) => id)).toEqual(ids);
  expect(photos[0]).toMatchObject({ status: "ready", width: 96, look: { model: "tiny" } });
  expect(photos[1]).toMatchObject({ status: "failed", error: failure.error, error_code: "server" });
  expect((await ask(`photos/${ids[0]}/after`)).status).toBe(200);
});

test("the look of an earlier version of the site gets the options that it lacks", async () => {
  const first = start();
  const { id } = await first.add(await makeFile());
  const kept = posted.filter((message) => message.type === "keep").at(-1)!.photo;
  const { straighten, hints, ...look } = kept.look;
  const { ask } = start({ photos: [{ ...kept, look: look as Look }] });
  const { photos } = (await ask("photos")).json;
  expect(photos).toMatchObject([{ id, look: { straighten, hints, saturation: 1 } }]);
});

test("it says why the photos of an earlier visit are gone, until some are added", async () => {
  const { ask, add } = start({ gone: "idle" });
  expect((await ask("photos")).json.gone).toBe("idle");
  const { id } = await add(await makeFile());
  await ask(`photos/${id}`, { method: "DELETE" });
  expect((await ask("photos")).json).toMatchObject({ gone: null, photos: [] });
});

test("photos are removed, one or all", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  await add(await makeFile());
  const removed = await ask(`photos/${id}`, { method: "DELETE" });
  expect(removed).toMatchObject({ status: 204, body: null });
  expect((await ask(`photos/${id}/after`)).status).toBe(404);
  expect(posted).toContainEqual({ type: "forget", ids: [id] });
  await ask("photos", { method: "DELETE" });
  expect((await ask("photos")).json.photos).toEqual([]);
  expect(posted).toContainEqual({ type: "forget", ids: null });
});

test("pictures come before the preparation of other photos, and can be cancelled", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const others = [makeFile(), makeFile()].map(async (file) => add(await file));
  const done: string[] = [];
  for (const other of others) void other.then(() => done.push("preparation"));
  const cancel = new AbortController();
  const cancelled = ask(`photos/${id}/after?strength=0.1`, {}, cancel.signal);
  const shown = ask(`photos/${id}/after?strength=0.2`).then(({ status }) => done.push(`${status}`));
  cancel.abort();
  expect((await cancelled).status).toBe(499);
  await Promise.all([...others, shown]);
  expect(done[0]).toBe("200");
});

test("an archive has the results, their hints, and what is missing", async () => {
  const { ask, add } = start();
  const [good, bad] = [await add(await makeFile()), await add(new Blob(["no"]), "b.jpg")];
  const look = { hints: [{ x: 3, y: 4, color: "red" }] };
  const photos = [{ id: good.id, look }, { id: good.id, look: {} }, { id: bad.id, look: {} }];
  const { id } = (await ask("archives", { method: "POST", json: { photos } })).json;
  expect((await ask(`archives/${id}`)).json).toMatchObject({ total: 3, done: 0, finished: false });
  const zip = await ask(`archives/${id}/photochrom.zip`);
  expect(zip.headers["Content-Type"]).toBe("application/zip");
  const text = await (zip.body as Blob).text();
  for (const name of ["a-color.jpg", "a.jpg.hints.json", "a-color (2).jpg", "NOT COLORIZED.txt"]) {
    expect(text).toContain(name);
  }
  expect(text).toContain("b.jpg: it is not ready");
  const state = (await ask(`archives/${id}`)).json;
  expect(state).toMatchObject({ done: 3, failed: ["b.jpg"], finished: true, stopped: false });
  expect((await ask(`archives/${id}/photochrom.zip`)).status).toBe(409);
});

test("an archive that is stopped ends with the results so far", async () => {
  const { ask, add } = start();
  const { id: photo } = await add(await makeFile());
  const photos = [photo, photo].map((id) => ({ id, look: {} }));
  const { id } = (await ask("archives", { method: "POST", json: { photos } })).json;
  const zip = ask(`archives/${id}/photochrom.zip`);
  await ask(`archives/${id}`, { method: "DELETE" });
  expect(await ((await zip).body as Blob).text()).toContain("a.jpg: the download was stopped");
  expect((await ask(`archives/${id}`)).json).toMatchObject({ finished: true, stopped: true });
});

test("an archive of photos that are all removed is not returned", async () => {
  const { ask, add } = start();
  const { id: photo } = await add(await makeFile());
  const photos = [photo, photo].map((id) => ({ id, look: {} }));
  const { id } = (await ask("archives", { method: "POST", json: { photos } })).json;
  const zip = ask(`archives/${id}/photochrom.zip`);
  await ask("photos", { method: "DELETE" });
  expect((await zip).status).toBe(404);
  expect((await zip).json.detail).toBe("this zip is not here any more; start another one");
});

test.each([0, 1])("an archive lacks photo %i, which is removed while it is made", async (index) => {
  const { ask, add } = start();
  const names = ["a.jpg", "b.jpg"];
  const photos = [];
  for (const name of names) {
    photos.push({ id: (await add(await makeFile(), name)).id, look: {} });
  }
  const { id } = (await ask("archives", { method: "POST", json: { photos } })).json;
  const zip = ask(`archives/${id}/photochrom.zip`);
  await ask(`photos/${photos[index].id}`, { method: "DELETE" });
  const text = await ((await zip).body as Blob).text();
  const removed = names[index];
  expect(text).toContain(`${removed}: it was removed meanwhile`);
  expect(text).not.toContain(removed.replace(".", "-color."));
  expect(text).toContain(names[1 - index].replace(".", "-color."));
  const state = (await ask(`archives/${id}`)).json;
  expect(state).toMatchObject({ done: 2, failed: [removed], finished: true, stopped: false });
});

test("an archive that is being made is kept, however many others are started", async () => {
  const { ask, add } = start();
  const { id: photo } = await add(await makeFile());
  const request = { method: "POST", json: { photos: [{ id: photo, look: {} }] } };
  const { id } = (await ask("archives", request)).json;
  const zip = ask(`archives/${id}/photochrom.zip`);
  for (let count = 0; count < 5; count++) await ask("archives", request);
  expect((await zip).status).toBe(200);
});

test("an archive ends if its work breaks the engine", async () => {
  const { ask, add } = start();
  const { id: photo } = await add(await makeFile());
  const look = { hints: [{ x: 3, y: 4, color: "red" }] };
  const request = { method: "POST", json: { photos: [{ id: photo, look }] } };
  const { id } = (await ask("archives", request)).json;
  const { predict } = colorizer;
  const cause = new WebAssembly.RuntimeError("unreachable");
  colorizer.predict = () => Promise.reject(new Error("the network failed", { cause }));
  expect((await ask(`archives/${id}/photochrom.zip`)).status).toBe(500);
  colorizer.predict = predict;
  expect((await ask(`archives/${id}`)).json).toMatchObject({ finished: true, stopped: true });
});

test("versions and a crop of a query are checked", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const large = await ask(`photos/${id}/versions?size=4000`);
  expect(large.status).toBe(400);
  expect(large.json.detail).toContain("size is 4000; for this photo of 96x64 pixels");
  const empty = await ask(`photos/${id}/after?crop=,,9,9`);
  expect(empty.status).toBe(400);
  expect(empty.json.detail).toContain("crop is ',,9,9'; it has to be left, top, width and height");
});

test("a lack of memory is said as such", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const { predict } = colorizer;
  colorizer.predict = () => Promise.reject(new RangeError("Array buffer allocation failed"));
  const { status, json } = await ask(`photos/${id}/after?hints=1,1,red`);
  colorizer.predict = predict;
  expect(status).toBe(400);
  expect(json.detail).toBe(
    "a.jpg is too large for the memory of this device; close other tabs, or use the program, " +
      "which needs less",
  );
});

test("a broken module is reported, so that the worker is started again", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const { predict } = colorizer;
  const cause = new WebAssembly.RuntimeError("unreachable");
  colorizer.predict = () => Promise.reject(new Error("the network failed", { cause }));
  await ask(`photos/${id}/after?hints=1,1,red`);
  colorizer.predict = predict;
  expect(posted).toContainEqual({ type: "broken", error: "the network failed", photo: id });
});

test("a module that lacked memory and has stopped is reported as broken", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const { predict } = colorizer;
  colorizer.predict = () => Promise.reject(new Error("Aborted(OOM)"));
  await ask(`photos/${id}/after?hints=1,1,red`);
  colorizer.predict = predict;
  expect(posted).toContainEqual({ type: "broken", error: "Aborted(OOM)", photo: id });
});

test("a broken module is reported, although the request was cancelled meanwhile", async () => {
  const { ask, add } = start();
  const { id } = await add(await makeFile());
  const { predict } = colorizer;
  const cause = new WebAssembly.RuntimeError("unreachable");
  const cancel = new AbortController();
  colorizer.predict = () => {
    cancel.abort();
    return Promise.reject(new Error("the network failed", { cause }));
  };
  await ask(`photos/${id}/after?hints=1,1,red`, {}, cancel.signal);
  colorizer.predict = predict;
  expect(posted).toContainEqual({ type: "broken", error: "the network failed", photo: id });
});

test("a broken module is reported, although the photo was removed meanwhile", async () => {
  const { ask } = start();
  const { predict } = colorizer;
  const cause = new WebAssembly.RuntimeError("unreachable");
  let id = "";
  const removed = new Promise<void>((resolve) => {
    colorizer.predict = async () => {
      await ask(`photos/${id}`, { method: "DELETE" });
      resolve();
      throw new Error("the network failed", { cause });
    };
  });
  const file = await makeFile();
  id = (await ask("photos?name=a.jpg", { method: "POST", file })).json.id;
  await removed;
  await new Promise((resolve) => setTimeout(resolve));
  colorizer.predict = predict;
  expect(posted).toContainEqual({ type: "broken", error: "the network failed", photo: id });
});

test("a photo whose preparation breaks the engine is named", async () => {
  const { add } = start();
  const { predict } = colorizer;
  const cause = new WebAssembly.RuntimeError("unreachable");
  colorizer.predict = () => Promise.reject(new Error("the network failed", { cause }));
  const { id } = await add(await makeFile());
  colorizer.predict = predict;
  expect(posted).toContainEqual({ type: "broken", error: "the network failed", photo: id });
  expect(posted).not.toContainEqual({ type: "made" });
  await add(await makeFile());
  expect(posted).toContainEqual({ type: "made" });
});
