// The controls of the look, as many as the server names.

const fields = [...document.querySelectorAll("[data-option]")];

/** Call back: input(look) while a slider moves, change(look) when a value is chosen. */
export function startLook({ input, change }) {
  for (const field of fields) {
    field.addEventListener("input", () => {
      paint(field);
      if (field.dataset.kind === "number") input(read(field));
    });
    field.addEventListener("change", () => {
      if (field.reportValidity()) change(read(field));
    });
  }
}

/** Return the one key of the look that a control is for. */
function read(field) {
  const values = {
    number: () => Number(field.value),
    whole: () => (field.value === "" ? null : Number(field.value)),
    flag: () => field.checked,
    choice: () => field.value,
  };
  return { [field.dataset.option]: values[field.dataset.kind]() };
}

/** Let the controls say a photo's look. */
export function write(look) {
  for (const field of fields) {
    if (field === document.activeElement && field.dataset.kind === "integer") continue; // being typed
    const value = look[field.dataset.option];
    if (field.dataset.kind === "flag") field.checked = value;
    else field.value = value ?? "";
    paint(field);
  }
}

/** Return the look that the page began with. */
export function defaults() {
  const look = {};
  for (const field of fields) {
    const copy = field.cloneNode(true);
    if (field.dataset.kind === "flag") copy.checked = field.defaultChecked;
    else if (field.dataset.kind === "choice") copy.selectedIndex = 0;
    else copy.value = field.defaultValue;
    Object.assign(look, read(copy));
  }
  return look;
}

/** Return what changes the picture at once, for an address. */
export function quick(look) {
  const sliders = fields.filter((field) => field.dataset.kind === "number");
  const pairs = sliders.map(({ dataset: { option } }) => [option, look[option]]);
  return new URLSearchParams(pairs).toString();
}

/** Let what stands around a control say what it says. */
function paint(field) {
  if (field.dataset.kind === "choice") {
    const note = field.selectedOptions[0]?.dataset.note ?? "";
    document.getElementById(`help-${field.dataset.option}`).textContent = note;
  }
  if (field.dataset.kind !== "number") return;
  const words = Number(field.value).toFixed(2);
  document.getElementById(`value-${field.dataset.option}`).textContent = words;
  const share = (field.value - field.min) / (field.max - field.min);
  field.style.setProperty("--at", share);
}
