import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { SRGB } from "../src/engine/color.ts";
import { abOf, Colorizer } from "../src/engine/colorizer.ts";
import { Network } from "../src/engine/network.ts";
import { readMetadata } from "../src/engine/onnx.ts";
import { ModelError, PhotoError, type Photo, type Planes } from "../src/types.ts";

const RUNTIME = {
  binary: readFileSync(
    new URL("../node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", import.meta.url),
  ).buffer as ArrayBuffer,
  threads: 1,
};
const FLOAT = 1; // of ONNX

/** Return a field of a protocol buffer with a length. */
function field(number: number, content: string | number[]): number[] {
  const bytes = typeof content === "string" ? [...Buffer.from(content)] : content;
  const length = [];
  for (let rest = bytes.length; ; rest >>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return [(number << 3) | 2, ...length, ...bytes];
}

const varint = (number: number, value: number) => [number << 3, value];

/** Return a ValueInfoProto. */
function port(name: string, type: number, ...shape: (string | number)[]): number[] {
  const sides = shape.flatMap((side) =>
    field(1, typeof side === "string" ? field(2, side) : varint(1, side)),
  );
  const tensor = [...varint(1, type), ...field(2, sides)];
  return [...field(1, name), ...field(2, field(1, tensor))];
}

const IDENTITY = { photochrom_format: "1", name: "tiny", size: "32" };
const L = port("L", FLOAT, "N", 1, "H", "W");
const AB = port("ab", FLOAT, "N", 2, "H", "W");
const AXIS_1 = [...field(1, "axis"), ...varint(3, 1), 0xa0, 0x01, 2]; // the last field is type: INT

function node(type: string, input: string, output: string, attribute: number[] = []): number[] {
  const names = [...field(1, input), ...field(1, input), ...field(2, output), ...field(4, type)];
  return field(1, attribute.length ? [...names, ...field(5, attribute)] : names);
}

/** Return an ONNX file of a network whose a* and b* are both the square of L*. */
function makeModel(changes: {
  metadata?: Record<string, string>; inputs?: number[][]; outputs?: number[][];
} = {}): Uint8Array {
  const { metadata, inputs, outputs } = {
    metadata: IDENTITY, inputs: [L], outputs: [AB], ...changes,
  };
  const graph = [
    ...node("Mul", "L", "square"),
    ...node("Concat", "square", "ab", AXIS_1),
    ...field(2, "graph"),
    ...inputs.flatMap((each) => field(11, each)),
    ...outputs.flatMap((each) => field(12, each)),
  ];
  return Uint8Array.from([
    ...varint(1, 8),
    ...field(7, graph),
    ...field(8, varint(2, 13)),
    ...Object.entries(metadata).flatMap(([key, value]) =>
      field(14, [...field(1, key), ...field(2, value)]),
    ),
  ]);
}

const load = (model: Uint8Array) => Network.load(model, RUNTIME);

const tiny = await load(makeModel());

/** Return L* of a size whose values rise from `start` by 1. */
const makeL = (width: number, height: number, start = 0): Planes => ({
  count: 1,
  width,
  height,
  data: Float32Array.from({ length: width * height }, (_, i) => start + i),
});

const squares = (values: Float32Array) => [...values, ...values].map((value) => value * value);

describe("a network", () => {
  it("says what it is, and maps L* to ab", async () => {
    expect(tiny).toMatchObject({ name: "tiny", size: 32, takesHints: false });
    const input = makeL(17, 16);
    const ab = await tiny.predict(input);
    expect(ab).toMatchObject({ count: 2, width: 17, height: 16 });
    expect([...ab.data]).toEqual(squares(input.data));
  });

  it("is photochrom's default model, which takes hints", async () => {
    const file = readFileSync(new URL("../../src/photochrom/default.onnx", import.meta.url));
    const network = await load(file);
    expect(network.name).toBe(readMetadata(file).get("name"));
    expect(network.takesHints).toBe(true);
    const ab = await network.predict(makeL(32, 32));
    expect(ab.data.length).toBe(2 * 32 * 32);
    expect(ab.data.every((value) => Math.abs(value) < 128)).toBe(true);
  });

  it("is refused if its output is not finite", async () => {
    await expect(tiny.predict(makeL(16, 16, 1e30))).rejects.toThrow(
      new ModelError("model tiny returned NaN or infinity for this photo; use another model"),
    );
  });

  it("is refused hints if it takes none", async () => {
    const hints = { count: 3, width: 16, height: 16, data: new Float32Array(3 * 256) };
    await expect(tiny.predict(makeL(16, 16), hints)).rejects.toThrow(
      "model tiny takes no colour hints; use a model that was trained with them",
    );
  });

  it.each<[string, Uint8Array, string]>([
    ["text", Uint8Array.from(Buffer.from("not a model")), "is not an ONNX model, or is damaged"],
    ["nothing", new Uint8Array(), "is not an ONNX model, or is damaged"],
    ["cut off", makeModel().subarray(0, 60), "is not an ONNX model, or is damaged"],
    [
      "another input",
      makeModel({ inputs: [L, port("mask", FLOAT, "N", 3, "H", "W")] }),
      "it has L of float32 (N, 1, H, W) and mask of float32 (N, 3, H, W) where L of float",
    ],
    [
      "one size",
      makeModel({ inputs: [port("L", FLOAT, "N", 1, 32, 48)] }),
      "takes images of one size only, 32x48",
    ],
    ["no metadata", makeModel({ metadata: {} }), "it has no photochrom_format, where '1' has"],
    [
      "another format",
      makeModel({ metadata: { ...IDENTITY, photochrom_format: "2" } }),
      "it has photochrom_format '2', where '1' has to be",
    ],
    [
      "a size that is too small",
      makeModel({ metadata: { ...IDENTITY, size: "15" } }),
      "name is 'tiny' and size '15', where a name and a number from 16 to 4096 have to be",
    ],
  ])("is refused if its file is wrong: %s", async (_name, model, message) => {
    const error = await load(model).then(() => null, (reason) => reason);
    expect(error).toBeInstanceOf(ModelError);
    expect(error.message).toContain(message);
  });
});

describe("a colorizer", () => {
  const makePhoto = (width: number, height: number): Photo => ({
    width,
    height,
    pixels: new Uint8ClampedArray(4 * width * height).fill(119),
    isGrey: true,
    hasAlpha: false,
    space: SRGB,
  });

  it("reflects L* that is too small for a network, and cuts ab", async () => {
    const colorizer = new Colorizer(tiny);
    const input = makeL(3, 2);
    const ab = await colorizer.predictAb(input);
    expect(ab).toMatchObject({ count: 2, width: 3, height: 2 });
    expect([...ab.data]).toEqual(squares(input.data));
  });

  it("enlarges ab as lines for a photo larger than the network's input", async () => {
    const colorizer = new Colorizer(tiny);
    const prepared = await colorizer.prepare(makePhoto(130, 64));
    expect(prepared.smallL).toMatchObject({ width: 65, height: 32 });
    expect(prepared.L).toMatchObject({ width: 130, height: 64 });
    expect(prepared.ownAb).toBeNull();
    const coefficients = await colorizer.predict(prepared, [], SRGB);
    expect(coefficients).toMatchObject({ count: 4, width: 130, height: 64 });
    const square = prepared.L.data[0] ** 2;
    const { data } = abOf(prepared, coefficients);
    expect(Math.max(...data.map((value) => Math.abs(value - square)))).toBeLessThan(0.05);
  });

  it("reduces ab to a photo smaller than the network's input", async () => {
    const colorizer = new Colorizer(tiny);
    const prepared = await colorizer.prepare(makePhoto(20, 10));
    expect(prepared.smallL).toMatchObject({ width: 64, height: 32 });
    const coefficients = await colorizer.predict(prepared, [], SRGB);
    expect(coefficients).toMatchObject({ count: 4, width: 20, height: 10 });
    expect(coefficients.data.subarray(0, 400).every((value) => value === 0)).toBe(true);
  });

  it("refuses a size out of range, and hints that its network does not take", async () => {
    const colorizer = new Colorizer(tiny);
    await expect(colorizer.prepare(makePhoto(20, 10), 15)).rejects.toThrow(
      new PhotoError("size is 15; it has to be from 16 to 4096"),
    );
    const prepared = await colorizer.prepare(makePhoto(20, 10), 16);
    const hint = { x: 0.5, y: 0.5, color: "neutral" };
    await expect(colorizer.predict(prepared, [hint], SRGB)).rejects.toThrow(ModelError);
  });
});
