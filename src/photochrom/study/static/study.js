// A participant's way through a study: consent, trials, thanks.

import * as server from "./server.js";
import { measureDisplay, show, showInSequence, showMasked } from "./showing.js";

const $ = (id) => document.getElementById(id);
const IMAGE_LABELS = ["Image 1", "Image 2"];
const TWO_IMAGES = { choices: [0, 1], labels: IMAGE_LABELS };
const ONE_IMAGE = { choices: ["real", "generated"], labels: ["Real", "Generated"] };
const DEFINITION =
  "A real photo has the colours that the camera recorded. In a generated one, a program guessed " +
  "them.";
const formatSeconds = (ms) => (ms === 1000 ? "1 second" : `${ms / 1000} seconds`);

const PROTOCOLS = {
  pair: {
    title: "Which one is generated?",
    instructions: (trial) =>
      "You see the same photo twice, one after the other, each for " +
      `${formatSeconds(trial.show_ms)}. One is real, one is generated. ${DEFINITION}`,
    question: "Which one was generated?",
    ...TWO_IMAGES,
    feedback: (choice) => `Image ${choice + 1} was generated.`,
  },
  single: {
    title: "Real or generated?",
    instructions: () => `You see one photo, without time limit. ${DEFINITION}`,
    question: "Is this photo real or generated?",
    ...ONE_IMAGE,
    feedback: (choice) => `This photo is ${choice}.`,
  },
  timed: {
    title: "Real or generated, at a glance?",
    instructions: () =>
      "After a countdown you see one photo for a moment, and then flickering noise. The more " +
      `often you are right, the shorter the photo is shown. ${DEFINITION}`,
    question: "Was this photo real or generated?",
    ...ONE_IMAGE,
    feedback: (choice) => `This photo was ${choice}.`,
  },
  preference: {
    title: "Which one looks better?",
    instructions: () =>
      "You see an old photo twice, coloured by two programs. Its true colours are unknown. There " +
      "is no time limit.",
    question: "Which one looks better?",
    ...TWO_IMAGES,
  },
};

// Whether the page was hidden, or the dialog was open, at any time in the current trial.
let wasInterrupted = false;
document.addEventListener("visibilitychange", () => {
  wasInterrupted ||= document.hidden;
});

const dialog = $("withdraw-dialog");
for (const button of document.querySelectorAll(".withdraw")) {
  button.addEventListener("click", () => {
    wasInterrupted = true;
    dialog.showModal();
  });
}
$("delete").addEventListener("click", async () => {
  for (const button of dialog.querySelectorAll("button")) button.disabled = true;
  dialog.append($("connection")); // outside, it is not read out while the dialog is open
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  await server.withdraw();
  location.replace("withdrawn");
});

function showSection(id) {
  for (const section of document.querySelectorAll("main > section")) {
    section.hidden = section.id !== id;
  }
  document.documentElement.classList.toggle("in-trial", id === "trial");
  $(id).querySelector("h1")?.focus();
}

function waitForEvent(target, type) {
  return new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
}

const waitForClick = (button) => waitForEvent(button, "click");

/** Wait until the page is visible and the dialog closed. */
async function waitForView() {
  while (dialog.open || document.hidden) {
    if (dialog.open) await waitForEvent(dialog, "close");
    else await waitForEvent(document, "visibilitychange");
  }
}

/** Wait for a choice button or key; return the index of the choice and the time of the event. */
function waitForChoice() {
  return new Promise((resolve) => {
    const controller = new AbortController();
    const choose = (index, event) => {
      controller.abort(); // ignore a second click
      resolve([index, event.timeStamp]);
    };
    const options = { signal: controller.signal };
    for (const index of [0, 1]) {
      $(`choice-${index}`).addEventListener("click", (event) => choose(index, event), options);
    }
    addEventListener(
      "keydown",
      (event) => {
        const index = { 1: 0, 2: 1, ArrowLeft: 0, ArrowRight: 1 }[event.key];
        if (index === undefined || event.repeat) return;
        if (event.ctrlKey || event.altKey || event.metaKey || dialog.open) return;
        event.preventDefault();
        choose(index, event);
      },
      options,
    );
  });
}

function waitForColorVision() {
  const form = $("color-vision-form");
  return new Promise((resolve) => {
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        resolve(new FormData(form).get("answer"));
      },
      { once: true },
    );
  });
}

function enableChoices(enabled) {
  for (const index of [0, 1]) $(`choice-${index}`).disabled = !enabled;
}

function addCaption(image) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = image.alt;
  caption.setAttribute("aria-hidden", "true"); // repeats the alt text
  figure.append(image, caption);
  return figure;
}

/** Show the instructions of a block, and wait for the start. */
async function showInstructions(trial, isAfterPractice) {
  const protocol = PROTOCOLS[trial.protocol];
  $("instructions-title").textContent = protocol.title;
  $("instructions-text").textContent = protocol.instructions(trial);
  $("instructions-practice").textContent = trial.practice
    ? "It begins with practice trials: after each response you are told whether it was right."
    : isAfterPractice
      ? "The practice is over. From now on you are not told whether you are right."
      : "";
  showSection("instructions");
  $("start").focus();
  await waitForClick($("start"));
}

/** Fill the trial section, with nothing visible yet; return the elements of the images. */
function prepareTrial(trial, images) {
  $("bar").max = trial.of;
  $("bar").value = trial.number;
  $("count").textContent = `${trial.number + 1} of ${trial.of}`;
  $("question-text").textContent = "";
  $("question").classList.remove("visible");
  $("feedback").hidden = true;
  $("question").hidden = false;
  enableChoices(false);
  PROTOCOLS[trial.protocol].labels.forEach((label, index) => {
    $(`choice-${index}`).textContent = label;
  });
  const stage = $("stage");
  stage.className = trial.protocol;
  stage.style.setProperty("--width", `${trial.width}px`);
  images.forEach((image, index) => {
    image.alt = IMAGE_LABELS[index];
    image.draggable = false;
  });
  const elements = images.length === 1 ? images : images.map(addCaption);
  stage.replaceChildren(...elements);
  showSection("trial");
  return elements;
}

async function runTrial(trial, images) {
  const protocol = PROTOCOLS[trial.protocol];
  const elements = prepareTrial(trial, images);
  await waitForView();
  if (!(await server.beginTrial(trial.number))) return;
  await waitForView(); // the request takes long without a connection
  wasInterrupted = false;

  const display = measureDisplay(images[0]);
  let showing = null;
  if (trial.protocol === "pair") showing = await showInSequence(elements, trial.show_ms);
  else if (trial.protocol === "timed") {
    showing = await showMasked(images[0], trial.show_ms, $("stage"));
  }
  // A hidden page has no animation frames. The server voids this trial on the next request.
  if (wasInterrupted && trial.show_ms !== null) return;
  enableChoices(true);
  $("question-text").textContent = protocol.question;
  const start = await show([$("question"), ...(trial.show_ms === null ? elements : [])]);
  const [index, time] = await waitForChoice();
  enableChoices(false);
  const result = await server.sendResponse({
    number: trial.number,
    pictures: trial.pictures,
    chosen: protocol.choices[index],
    exposure_ms: showing?.exposures[0] ?? null,
    second_exposure_ms: showing?.exposures[1] ?? null,
    reaction_ms: wasInterrupted ? null : Math.max(0, time - start),
    since_onset_ms: wasInterrupted ? null : Math.max(0, time - (showing?.onset ?? start)),
    ...display,
  });
  if (trial.practice && result) {
    const truth = protocol.choices[result.right ? index : 1 - index];
    const verdict = result.right ? "Right" : "Wrong";
    $("feedback-text").textContent = `${verdict}. ${protocol.feedback(truth)}`;
    $("question").hidden = true;
    $("feedback").hidden = false;
    $("continue").focus();
    await waitForClick($("continue"));
  }
}

async function main() {
  await server.sendStoredResponse();
  let hasConsented = false;
  let lastBlock = null;
  for (;;) {
    await waitForView();
    const state = await server.fetchState();
    if (state.state === "consent") {
      $("cookie-warning").hidden = !hasConsented;
      showSection("consent");
      await waitForClick($("agree"));
      hasConsented = true;
      await server.sendConsent();
    } else if (state.state === "color-vision") {
      showSection("color-vision");
      await server.sendColorVision(await waitForColorVision());
    } else if (state.state === "done") {
      $("code").textContent = state.code;
      showSection("thanks");
      return;
    } else {
      const images = await Promise.all(state.pictures.map(server.loadImage));
      const practice = `${state.protocol} practice`;
      const block = state.practice ? practice : state.protocol;
      if (block !== lastBlock) await showInstructions(state, lastBlock === practice);
      lastBlock = block;
      await runTrial(state, images);
      $("stage").replaceChildren();
      for (const image of images) URL.revokeObjectURL(image.src);
    }
  }
}

main().catch((error) => {
  console.error(error);
  showSection("failure");
});
