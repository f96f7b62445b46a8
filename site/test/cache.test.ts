import { expect, test } from "vitest";

import { Cache } from "../src/server/cache.ts";

const countBytes = (value: string) => value.length;

test("the least recently used values are dropped", async () => {
  const cache = new Cache(6);
  const made: string[] = [];
  const get = (key: string) =>
    cache.get(key, () => (made.push(key), `${key}..`), countBytes);
  for (const key of ["a", "b", "a", "c", "a", "b"]) expect(await get(key)).toBe(`${key}..`);
  expect(made).toEqual(["a", "b", "c", "b"]);
});

test("a value that is too large is made each time and drops no other", async () => {
  const cache = new Cache(4);
  await cache.get("small", () => "abc", countBytes);
  await cache.get("large", () => "abcdefgh", countBytes);
  let made = 0;
  await cache.get("small", () => (made++, "new"), countBytes);
  await cache.get("large", () => (made++, "new"), countBytes);
  expect(made).toBe(1);
});

test("values of one photo are dropped", async () => {
  const cache = new Cache(100);
  for (const key of ["1/a", "1/b", "11/a"]) await cache.get(key, () => key, countBytes);
  cache.drop("1/");
  expect(await cache.get("11/a", () => "new", countBytes)).toBe("11/a");
  expect(await cache.get("1/a", () => "new", countBytes)).toBe("new");
});

test("a failure is not kept", async () => {
  const cache = new Cache(100);
  const fail = () => Promise.reject(new Error("broken"));
  await expect(cache.get("a", fail, countBytes)).rejects.toThrow("broken");
  expect(await cache.get("a", () => "fine", countBytes)).toBe("fine");
});
