// The network: L* in, ab out, from an ONNX file, run by ONNX Runtime Web. Checks are those of
// `photochrom.colorize.onnx_model`.

import * as ort from "onnxruntime-web/wasm";

import { ModelError, type Planes } from "../types.ts";
import { readMetadata } from "./onnx.ts";
import { MAX_SIZE, MIN_SIDE } from "./options.ts";

const FORMAT = "1"; // `photochrom_format` in the metadata of our ONNX files
const ADVICE = "give a file that `photochrom export` wrote";

/** How the runtime is started. */
export interface Runtime {
  /** Of ort-wasm-simd-threaded.wasm; null: the runtime finds its file itself, as in Node. */
  binary: ArrayBuffer | null;
  /** More than one needs a page that is cross-origin isolated. */
  threads: number;
}

/** A colorization model. */
export class Network {
  private constructor(
    private readonly session: ort.InferenceSession,
    readonly name: string,
    /** Short side in px of its preferred input. */
    readonly size: number,
    /** Whether it has the second input, `hints`; without hints it gets zeros. */
    readonly takesHints: boolean,
  ) {}

  /**
   * Load the bytes of a file that `photochrom export` wrote.
   *
   * Throws `ModelError` if they are not a photochrom model.
   */
  static async load(
    model: ArrayBuffer | Uint8Array, { binary, threads }: Runtime,
  ): Promise<Network> {
    if (binary !== null) ort.env.wasm.wasmBinary = binary;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "fatal"; // errors are thrown as well
    const bytes = model instanceof Uint8Array ? model : new Uint8Array(model);
    let session;
    try {
      session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    } catch (error) {
      throw new ModelError(`the model is not an ONNX model, or is damaged; ${ADVICE}`, {
        cause: error,
      });
    }
    const takesHints = checkPorts(session);
    const [name, size] = readIdentity(readMetadata(bytes));
    return new Network(session, name, size, takesHints);
  }

  /**
   * Predict a* and b* in CIELAB units, shape (2, h, w).
   *
   * @param L L*, 0 to 100, shape (1, h, w), of 16 px or more each.
   * @param hints Known colours, shape (3, h, w): a*, b* and a mask that is 1 where they are known.
   *
   * Throws `ModelError` if the network fails on this input, returns another shape, NaN or
   * infinity, or takes no hints and is given some.
   */
  async predict(L: Planes, hints: Planes | null = null): Promise<Planes> {
    const { width, height } = L;
    const shape = [1, 1, height, width];
    const inputs: Record<string, ort.Tensor> = { L: new ort.Tensor("float32", L.data, shape) };
    if (this.takesHints) {
      const known = hints?.data ?? new Float32Array(3 * width * height);
      inputs.hints = new ort.Tensor("float32", known, [1, 3, height, width]);
    } else if (hints !== null) {
      throw noHintsError(this.name);
    }
    let ab: ort.Tensor;
    try {
      ({ ab } = await this.session.run(inputs));
    } catch (error) {
      const [reason] = String((error as Error).message).split("\n");
      throw new ModelError(
        `model ${this.name} failed on an image of ${width}x${height}: ${reason}`,
        { cause: error },
      );
    }
    const expected = [1, 2, height, width];
    if (ab.dims.join() !== expected.join()) {
      throw new ModelError(
        `model ${this.name} returned an array of shape (${ab.dims.join(", ")}) where ` +
          `(${expected.join(", ")}) has to be; use another model`,
      );
    }
    const data = ab.data as Float32Array;
    if (!data.every(Number.isFinite)) {
      throw new ModelError(
        `model ${this.name} returned NaN or infinity for this photo; use another model`,
      );
    }
    return { count: 2, width, height, data };
  }
}

/** Return the error of a model that is given hints and takes none. */
export function noHintsError(name: string): ModelError {
  return new ModelError(
    `model ${name} takes no colour hints; use a model that was trained with them`,
  );
}

/** Check that the network maps L* of any size to ab, and return whether it takes hints. */
function checkPorts(session: ort.InferenceSession): boolean {
  const isHinted = session.inputMetadata.length > 1;
  checkNodes(session.inputMetadata, isHinted ? { L: 1, hints: 3 } : { L: 1 });
  checkNodes(session.outputMetadata, { ab: 2 });
  return isHinted;
}

function checkNodes(
  nodes: readonly ort.InferenceSession.ValueMetadata[], expected: Record<string, number>,
): void {
  const isExpected = (node: ort.InferenceSession.ValueMetadata) =>
    node.isTensor &&
    node.type === "float32" &&
    node.shape.length === 4 &&
    node.shape[1] === expected[node.name];
  const names = Object.keys(expected);
  if (nodes.length !== names.length || !nodes.every(isExpected)) {
    const wanted = names.map((name) => `${name} of float (N, ${expected[name]}, H, W)`);
    const actual = nodes.map(describe).join(" and ") || "nothing";
    throw new ModelError(
      `the model is not a photochrom model: it has ${actual} where ` +
        `${wanted.join(" and ")} has to be; ${ADVICE}`,
    );
  }
  for (const node of nodes) {
    if (node.isTensor && node.shape.slice(2).some((side) => typeof side === "number")) {
      throw new ModelError(
        `the model takes images of one size only, ${node.shape.slice(2).join("x")}; export it ` +
          "with dynamic height and width",
      );
    }
  }
}

function describe(node: ort.InferenceSession.ValueMetadata): string {
  return node.isTensor ? `${node.name} of ${node.type} (${node.shape.join(", ")})` : node.name;
}

/** Return name and size from the metadata. */
function readIdentity(metadata: Map<string, string>): [string, number] {
  const format = metadata.get("photochrom_format");
  if (format !== FORMAT) {
    const actual = format ? `photochrom_format '${format}'` : "no photochrom_format";
    throw new ModelError(
      `the model is not a photochrom model: it has ${actual}, where '${FORMAT}' has to be; ` +
        ADVICE,
    );
  }
  const name = metadata.get("name") ?? "";
  const size = metadata.get("size") ?? "";
  if (!name || !/^\d+$/.test(size) || Number(size) < MIN_SIDE || Number(size) > MAX_SIZE) {
    throw new ModelError(
      `the model has wrong metadata: name is '${name}' and size '${size}', where a name and a ` +
        `number from ${MIN_SIDE} to ${MAX_SIZE} have to be; ${ADVICE}`,
    );
  }
  return [name, Number(size)];
}
