// The language of the page.

/**
 * Return the first wanted language that the page has, or else the page's first one.
 *
 * @param wanted Tags such as "de-CH", the best first.
 * @param known Tags without a region, such as "de".
 */
export function chooseLanguage(wanted: readonly string[], known: readonly string[]): string {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split("-")[0];
    if (known.includes(language)) return language;
  }
  return known[0];
}
