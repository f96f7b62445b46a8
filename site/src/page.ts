// The page of the static site is that of the server, with its engine in the browser.

import "../../src/photochrom/web/static/page.js";
