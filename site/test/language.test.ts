import { expect, test } from "vitest";
import { chooseLanguage } from "../src/language.ts";

test.each([
  [["de-CH", "de", "en"], "de"],
  [["fr-FR", "DE-at", "en"], "de"],
  [["en-GB", "de"], "en"],
  [["fr"], "en"],
  [[], "en"],
])("of %j the page speaks %s", (wanted, language) => {
  expect(chooseLanguage(wanted, ["en", "de"])).toBe(language);
});
