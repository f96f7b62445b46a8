// The page of the static site: that of the server, with its engine in the browser.

import "../../src/photochrom/web/static/page.js";
import { useNewVersion } from "./offline.ts";

useNewVersion();
