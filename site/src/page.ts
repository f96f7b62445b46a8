// The page of the static site: that of the server, with its engine in the browser.

import "../../src/photochrom/web/static/page.js";
import { loadEngine } from "./loading.ts";
import { startOffline, useNewVersion } from "./offline.ts";

useNewVersion();
// Afterwards, so that the service worker finds the engine in the browser's cache.
loadEngine().then(startOffline);
