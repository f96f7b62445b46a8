// The controls of the rendering options, one for each option that the server lists.

import { formatNumber } from "./texts.js";

const TWO_DIGITS = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
const controls = [...document.querySelectorAll("[data-option]")];

/** Call back: onInput(options) while a slider moves, onChange(options) when a value is chosen. */
export function startOptions({ onInput, onChange }) {
  for (const control of controls) {
    control.addEventListener("input", () => {
      updateLabels(control);
      if (control.dataset.kind === "number") onInput(readControl(control));
    });
    control.addEventListener("change", () => {
      if (control.reportValidity()) onChange(readControl(control));
    });
  }
}

/** Return an object with the one option of a control. */
function readControl(control) {
  const values = {
    number: () => Number(control.value),
    integer: () => (control.value === "" ? null : Number(control.value)),
    flag: () => control.checked,
    choice: () => control.value,
  };
  return { [control.dataset.option]: values[control.dataset.kind]() };
}

/** Set all controls. */
export function showOptions(options) {
  for (const control of controls) {
    const { kind, option } = control.dataset;
    if (control === document.activeElement && kind === "integer") continue; // being typed
    if (kind === "flag") control.checked = options[option];
    else control.value = options[option] ?? "";
    updateLabels(control);
  }
}

/** Return the initial values of the controls. */
export function defaultOptions() {
  const options = {};
  for (const control of controls) {
    const copy = control.cloneNode(true);
    const { kind } = control.dataset;
    if (kind === "flag") copy.checked = control.defaultChecked;
    else if (kind === "choice") copy.selectedIndex = 0;
    else copy.value = control.defaultValue;
    Object.assign(options, readControl(copy));
  }
  return options;
}

/** Return the query string of a look. */
export function previewQuery(look) {
  return new URLSearchParams(Object.entries(look).map(([key, value]) => [key, value ?? ""]));
}

/** Update the note of a model, or the number and the filled part of a slider. */
function updateLabels(control) {
  const { kind, option } = control.dataset;
  if (kind === "choice") {
    const note = control.selectedOptions[0]?.dataset.note ?? "";
    document.getElementById(`help-${option}`).textContent = note;
  } else if (kind === "number") {
    const number = formatNumber(Number(control.value), TWO_DIGITS);
    document.getElementById(`value-${option}`).textContent = number;
    const fraction = (control.value - control.min) / (control.max - control.min);
    control.style.setProperty("--fraction", fraction);
  }
}
