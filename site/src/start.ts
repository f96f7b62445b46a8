// What has to run before the page is drawn, also where a module cannot be loaded.

import { chooseLanguage } from "./language.ts";

const LANGUAGE = "photochrom.language"; // key of localStorage

/** Go to the page in the language that was chosen before, or that the browser prefers. */
function openLanguage(): void {
  const links = [...document.querySelectorAll<HTMLLinkElement>("link[rel=alternate][hreflang]")];
  const pages = new Map(links.map(({ hreflang, href }) => [hreflang, new URL(href).pathname]));
  const current = document.documentElement.lang;
  const chosen = new URLSearchParams(location.search).get("lang");
  if (chosen === current) {
    writeChoice(chosen);
    return;
  }
  const [first] = pages.keys();
  if (current !== first) return; // the address names a language
  const language = chooseLanguage([readChoice() ?? [], navigator.languages].flat(), [...pages.keys()]);
  if (language !== current) location.replace(pages.get(language)!);
}

function readChoice(): string | null {
  try {
    return localStorage.getItem(LANGUAGE);
  } catch {
    return null; // the user has forbidden storage
  }
}

function writeChoice(language: string): void {
  try {
    localStorage.setItem(LANGUAGE, language);
  } catch {
    // The user has forbidden storage.
  }
}

/** Say why nothing happens if the page's module does not load, as from a file. */
function onError({ target }: Event): void {
  if (!(target instanceof HTMLScriptElement)) return;
  const id = location.protocol === "file:" ? "engine-file" : "engine-script";
  const show = () => (document.getElementById(id)!.hidden = false);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show);
  else show();
}

window.addEventListener("error", onError, { capture: true }); // the event of an element, not an Error
if (location.protocol !== "file:") openLanguage();
