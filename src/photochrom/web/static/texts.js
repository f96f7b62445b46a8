// The page's texts in its language, which the server puts into the page; see docs/web.md.

const texts = JSON.parse(document.getElementById("texts").textContent);
const language = document.documentElement.lang;
const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);

/**
 * Return a text, with `{name}` replaced by each value; numbers are written as in the language.
 *
 * A text with plural forms, such as `key.one` and `key.other`, is chosen by `values.count`.
 */
export function t(key, values = {}) {
  const text = texts[key] ?? texts[`${key}.${plurals.select(values.count)}`] ?? texts[`${key}.other`];
  if (text === undefined) throw new Error(`there is no text ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => write(values[name]));
}

const write = (value) => (typeof value === "number" ? numbers.format(value) : value);

/** Return a number as it is written in the page's language; `options` are of Intl.NumberFormat. */
export const formatNumber = (value, options) => value.toLocaleString(language, options);

/** Return a fraction in percent. */
export const formatPercent = (fraction) => formatNumber(fraction, { style: "percent" });

/** Return a number of bytes in MB. */
export function formatMegabytes(bytes) {
  return formatNumber(bytes / 1e6, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 });
}
