// One person's way through a study: consent, trials, thanks.

import { agree, begun, deliver, deliverKept, next, picture } from "./server.js";
import { briefly, inTurn, show } from "./showing.js";

const $ = (id) => document.getElementById(id);
const TWO = [0, 1];
const PICTURES = ["Picture 1", "Picture 2"];
const ONE = ["real", "generated"];
const ONE_LABELS = ["Real", "Generated"];
const GENERATED =
  "The colours of real ones are as the camera took them; those of generated ones were guessed by a " +
  "program.";
const seconds = (ms) => (ms === 1000 ? "1 second" : `${ms / 1000} seconds`);

const PROTOCOLS = {
  pair: {
    title: "Which one is generated?",
    text: (trial) =>
      `You see the same photo twice, one after the other, each for ${seconds(trial.show_ms)}. One ` +
      `is real, one is generated. ${GENERATED}`,
    question: "Which one was generated?",
    choices: TWO,
    labels: PICTURES,
    verdict: (chosen) => `Picture ${chosen + 1} was generated.`,
  },
  single: {
    title: "Real or generated?",
    text: () => `You see one photo, for as long as you like. ${GENERATED}`,
    question: "Is this photo real or generated?",
    choices: ONE,
    labels: ONE_LABELS,
    verdict: (chosen) => `This photo is ${chosen}.`,
  },
  timed: {
    title: "Real or generated, at a glance?",
    text: () =>
      "After a countdown you see one photo for a moment, and then, quickly, some noise. The better " +
      `you get, the shorter it is. ${GENERATED}`,
    question: "Was this photo real or generated?",
    choices: ONE,
    labels: ONE_LABELS,
    verdict: (chosen) => `This photo was ${chosen}.`,
  },
  preference: {
    title: "Which one looks better?",
    text: () =>
      "You see an old photo twice, coloured by two programs. Nobody knows its true colours. Take " +
      "as long as you like.",
    question: "Which one looks better?",
    choices: TWO,
    labels: PICTURES,
    verdict: null,
  },
};

let hidden = false; // whether the page was out of sight since a trial began
document.addEventListener("visibilitychange", () => {
  hidden ||= document.hidden;
});

function only(id) {
  for (const section of document.querySelectorAll("main > section")) {
    section.hidden = section.id !== id;
  }
  document.documentElement.classList.toggle("showing", id === "trial");
  $(id).querySelector("h1")?.focus();
}

function pressed(button) {
  return new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
}

/** Wait for one of the two buttons or their keys; return which, and when. */
function choice() {
  return new Promise((resolve) => {
    const controller = new AbortController();
    const choose = (index, event) => {
      controller.abort(); // a second click is not heard
      resolve([index, event.timeStamp]);
    };
    const listening = { signal: controller.signal };
    for (const index of TWO) {
      $(`choice-${index}`).addEventListener("click", (event) => choose(index, event), listening);
    }
    addEventListener(
      "keydown",
      (event) => {
        const index = { 1: 0, 2: 1, ArrowLeft: 0, ArrowRight: 1 }[event.key];
        if (index === undefined || event.repeat) return;
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        choose(index, event);
      },
      listening,
    );
  });
}

function captioned(image) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = image.alt;
  caption.setAttribute("aria-hidden", "true"); // the picture is called so already
  figure.append(image, caption);
  return figure;
}

async function explain(trial, before) {
  const protocol = PROTOCOLS[trial.protocol];
  $("brief-title").textContent = protocol.title;
  $("brief-text").textContent = protocol.text(trial);
  $("brief-practice").textContent = trial.practice
    ? "It begins with some practice: after each answer you are told whether it was right."
    : before === `${trial.protocol} practice`
      ? "The practice is over. From here on you are not told whether you are right."
      : "";
  only("brief");
  $("start").focus();
  await pressed($("start"));
}

async function run(trial, images) {
  const protocol = PROTOCOLS[trial.protocol];
  $("bar").max = trial.of;
  $("bar").value = trial.number;
  $("count").textContent = `${trial.number + 1} of ${trial.of}`;
  $("asked").textContent = "";
  $("question").classList.remove("seen");
  $("feedback").hidden = true;
  $("question").hidden = false;
  protocol.labels.forEach((label, index) => {
    $(`choice-${index}`).textContent = label;
    $(`choice-${index}`).disabled = true;
  });
  const stage = $("stage");
  stage.className = trial.protocol;
  stage.style.setProperty("--width", `${trial.width}px`);
  stage.style.setProperty("--height", `${trial.height}px`);
  images.forEach((image, index) => {
    image.alt = PICTURES[index];
    image.draggable = false;
  });
  const pictures = images.length === 1 ? images : images.map(captioned);
  stage.replaceChildren(...pictures);
  only("trial");
  hidden = document.hidden;
  if (!(await begun(trial.number))) return;

  let exposure = null;
  if (trial.protocol === "pair") await inTurn(pictures, trial.show_ms);
  else if (trial.protocol === "timed") exposure = await briefly(images[0], trial.show_ms, stage);
  // Frames stand still while a page is out of sight. The next question makes this one void.
  if (hidden && trial.show_ms !== null) return;
  for (const index of TWO) $(`choice-${index}`).disabled = false;
  $("asked").textContent = protocol.question;
  const from = await show([$("question"), ...(trial.show_ms === null ? pictures : [])]);
  const [index, at] = await choice();
  for (const one of TWO) $(`choice-${one}`).disabled = true;
  const chosen = protocol.choices[index];
  const said = await deliver({
    number: trial.number,
    pictures: trial.pictures,
    chosen,
    exposure_ms: exposure,
    reaction_ms: Math.max(0, at - from),
  });
  if (trial.practice && said) {
    const truth = protocol.choices[said.right ? index : 1 - index];
    $("verdict").textContent = `${said.right ? "Right" : "Wrong"}. ${protocol.verdict(truth)}`;
    $("question").hidden = true;
    $("feedback").hidden = false;
    $("onward").focus();
    await pressed($("onward"));
  }
}

async function main() {
  await deliverKept();
  let agreed = false;
  let before = null; // what was explained last; a reload explains it again
  for (;;) {
    const state = await next();
    if (state.state === "consent") {
      $("refused").hidden = !agreed;
      only("consent");
      await pressed($("agree"));
      agreed = true;
      await agree();
    } else if (state.state === "done") {
      only("thanks");
      return;
    } else {
      const images = await Promise.all(state.pictures.map(picture));
      const now = `${state.protocol}${state.practice ? " practice" : ""}`;
      if (now !== before) await explain(state, before);
      before = now;
      await run(state, images);
      $("stage").replaceChildren();
      for (const image of images) URL.revokeObjectURL(image.src);
    }
  }
}

main().catch((error) => {
  console.error(error);
  only("broken");
});
