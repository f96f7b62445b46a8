import { expect, test, vi } from "vitest";

vi.mock("../../src/photochrom/web/static/texts.js", () => ({ t: (key: string) => key }));

test("a browser that lacks what came in 2023 is told so, and loads nothing", async () => {
  const elements: Record<string, { hidden: boolean; textContent: string }> = {};
  const setAttribute = () => {};
  vi.stubGlobal("document", {
    getElementById: (id: string) => (elements[id] ??= Object.assign({ setAttribute }, empty)),
    body: { dataset: {} },
  });
  vi.stubGlobal("navigator", {});
  const { loadEngine } = await import("../src/loading.ts");
  const { toSorted } = Array.prototype;
  Reflect.deleteProperty(Array.prototype, "toSorted");
  try {
    loadEngine().catch(() => {});
  } finally {
    const method = { value: toSorted, writable: true, configurable: true, enumerable: false };
    Object.defineProperty(Array.prototype, "toSorted", method);
  }
  expect(elements["engine-text"]?.textContent).toBe("engine.unsupported");
  expect(elements.engine.hidden).toBe(false);
});

const empty = { hidden: true, textContent: "" };
