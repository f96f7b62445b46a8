// Visits the site in Firefox by WebDriver BiDi: `node firefox.mjs FIREFOX URL PHOTO DOWNLOADS`.
//
// Before the part without a network it prints "offline?" and waits for a line, so that the caller
// can stop the server; at the end it prints JSON. tests/site/test_firefox.py runs it.

import { once } from "node:events";
import { readdir } from "node:fs/promises";
import puppeteer from "puppeteer-core";

const [executablePath, url, photo, downloads] = process.argv.slice(2);
const TIMEOUT = 120_000; // ms

const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath,
  extraPrefsFirefox: { "browser.download.dir": downloads, "browser.download.folderList": 2 },
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(TIMEOUT);
  const messages = [];
  const requests = [];
  page.on("console", (message) => messages.push(message.text()));
  page.on("pageerror", (error) => messages.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  await page.setViewport({ width: 1280, height: 800 });
  await page.goto(url);
  await (await page.waitForSelector("input.file-input")).uploadFile(photo);
  await page.waitForSelector(".thumbnail[data-status=ready]");
  await page.waitForSelector("#split", { visible: true });
  await page.click("#frame", { offset: { x: 60, y: 60 } });
  await page.waitForSelector("#palette-suggestions [data-color]");
  await page.$eval("#palette-picker", (picker) => {
    picker.value = "#a02040";
    picker.dispatchEvent(new Event("input", { bubbles: true }));
    picker.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await page.keyboard.press("Escape");
  await save(page, "#download");
  await page.click("#save-menu-button");
  await save(page, "#save-hints");
  await page.waitForSelector("#offline-note", { visible: true });
  console.log("offline?");
  await once(process.stdin, "data");
  await page.reload();
  await page.waitForSelector(".thumbnail[data-status=ready]");
  await page.waitForSelector("#split", { visible: true });
  const hints = await page.$$eval(".hint", (all) => all.length);
  console.log(JSON.stringify({ messages, requests, hints }));
} finally {
  await browser.close();
}
process.exit();

/** Press a button, and wait until the browser has saved a file. */
async function save(page, selector) {
  const before = (await readdir(downloads)).length;
  await page.click(selector);
  const end = Date.now() + TIMEOUT;
  for (;;) {
    const names = await readdir(downloads);
    if (names.length > before && !names.some((name) => name.endsWith(".part"))) return;
    if (Date.now() > end) throw new Error(`${selector} saved no file`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
