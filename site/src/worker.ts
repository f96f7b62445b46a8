// The worker of the static site's page.

import * as ort from "onnxruntime-web/wasm";

ort.env.wasm.numThreads = 1;
