// The controls of a look: sliders, check boxes and menus, one for each option.

import { formatPercent } from "./texts.js";

const controls = [...document.querySelectorAll("[data-option]")];

/** Call back with part of a look, and whether it is settled, not while a slider moves. */
export function startOptions(onChange) {
  for (const control of controls) {
    let moving = false;
    control.addEventListener("input", () => {
      moving = true;
      updateLabels(control);
      if (control.type === "range") onChange(readControl(control), { settled: false });
    });
    const settle = (event) => {
      if (moving || event.type === "change") onChange(readControl(control), { settled: true });
      moving = false;
    };
    // There is no "change" if a slider is moved back to where it was.
    for (const type of ["change", "pointerup", "blur"]) control.addEventListener(type, settle);
  }
}

function readControl({ dataset, type, value, checked }) {
  return { [dataset.option]: { range: Number(value), checkbox: checked }[type] ?? value };
}

/** Set all controls. */
export function showOptions(look) {
  for (const control of controls) {
    const value = look[control.dataset.option];
    if (control.type === "checkbox") control.checked = value;
    else control.value = value;
    updateLabels(control);
  }
}

/** Update the note of a menu, or the number and the filled part of a slider. */
function updateLabels(control) {
  const { option } = control.dataset;
  if (control.selectedOptions) {
    const note = control.selectedOptions[0]?.dataset.note ?? "";
    document.getElementById(`help-${option}`).textContent = note;
  } else if (control.type === "range") {
    const number = formatPercent(Number(control.value));
    document.getElementById(`value-${option}`).textContent = number;
    control.setAttribute("aria-valuetext", number);
    const fraction = (control.value - control.min) / (control.max - control.min);
    control.style.setProperty("--fraction", fraction);
  }
}
