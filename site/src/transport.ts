// Stands in for the transport to the worker, until that is there.

import { loadEngine } from "./loading.ts";

export { saveResponse, send, sendFile } from "../../src/photochrom/web/static/transport.js";

loadEngine();
