import { afterEach, expect, test, vi } from "vitest";
import { Download, LoadError } from "../src/download.ts";

const CONTENT = new Uint8Array([1, 2, 3, 4, 5]);

/** Answer the next requests in turn; an Error: there is no connection. */
function answer(...answers: (Response | Error)[]) {
  const fetch = vi.fn();
  for (const one of answers) {
    if (one instanceof Error) fetch.mockRejectedValueOnce(one);
    else fetch.mockResolvedValueOnce(one);
  }
  vi.stubGlobal("fetch", fetch);
  return fetch;
}

/** Return a response whose body comes in parts; an Error: the connection is lost. */
function stream(...parts: (Uint8Array | Error)[]): Response {
  const body = new ReadableStream({
    pull(controller) {
      const part = parts.shift();
      if (part instanceof Error) controller.error(part);
      else if (part) controller.enqueue(part);
      else controller.close();
    },
  });
  return new Response(body);
}

afterEach(() => {
  vi.unstubAllGlobals();
});

test("the bytes are counted as they arrive, and are loaded once", async () => {
  const fetch = answer(stream(CONTENT.subarray(0, 2), CONTENT.subarray(2)));
  const download = new Download("model.onnx", 5);
  const counts: number[] = [];
  const content = await download.read(() => counts.push(download.loaded));
  expect(new Uint8Array(content)).toEqual(CONTENT);
  expect(counts).toEqual([2, 5]);
  expect(await download.read()).toBe(content);
  expect(fetch).toHaveBeenCalledTimes(1);
});

test.each([
  ["no connection", new TypeError("Failed to fetch")],
  ["a lost connection", stream(CONTENT.subarray(0, 2), new TypeError("network error"))],
  ["an error of the host", new Response("not found", { status: 404 })],
  ["a shorter file", new Response(CONTENT.subarray(1))],
  ["a longer file, such as a page to log in", new Response("<!doctype html>")],
])("%s is reported, and the next attempt passes over the browser's cache", async (_, bad) => {
  const fetch = answer(bad, new Response(CONTENT));
  const download = new Download("model.onnx", 5);
  await expect(download.read()).rejects.toThrow(LoadError);
  expect(new Uint8Array(await download.read())).toEqual(CONTENT);
  expect(fetch.mock.calls.map(([, { cache }]) => cache)).toEqual(["default", "reload"]);
});

test("the rest of a longer file is not loaded", async () => {
  const cancel = vi.fn();
  const pull = (controller: ReadableStreamDefaultController) => controller.enqueue(CONTENT);
  answer(new Response(new ReadableStream({ pull, cancel })));
  await expect(new Download("model.onnx", 7).read()).rejects.toThrow("the file is too long");
  expect(cancel).toHaveBeenCalledOnce();
});
