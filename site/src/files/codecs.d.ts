// Types of the JPEG codecs, which are built by Emscripten.

interface EmscriptenOptions {
  noInitialRun?: boolean;
  printErr?: (text: string) => void;
  instantiateWasm: (
    imports: WebAssembly.Imports,
    onInstance: (instance: WebAssembly.Instance) => void,
  ) => WebAssembly.Exports;
}

declare module "@jsquash/jpeg/codec/dec/mozjpeg_dec.js" {
  export default function load(options: EmscriptenOptions): Promise<{
    decode(data: Uint8Array, preserveOrientation: boolean): ImageData;
  }>;
}

declare module "@cornerstonejs/codec-libjpeg-turbo-8bit/wasmjs" {
  interface Frame {
    width: number;
    height: number;
    bitsPerSample: number;
    componentCount: number;
    isSigned: boolean;
  }
  class JPEGEncoder {
    /** A view of the codec's memory. */
    getDecodedBuffer(frame: Frame): Uint8Array<ArrayBuffer>;
    getEncodedBuffer(): Uint8ClampedArray<ArrayBuffer>;
    setProgressive(value: number): void;
    setQuality(value: number): void;
    setSubSampling(value: number): void;
    encode(): void;
  }
  export default function load(
    options: EmscriptenOptions,
  ): Promise<{ JPEGEncoder: typeof JPEGEncoder }>;
}
