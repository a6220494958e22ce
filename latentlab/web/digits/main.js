/**
 * The page: loads the model, builds the controls, and keeps address and images in step.
 *
 * `window.latentlab` is there for scripts and tests:
 *   ready           resolves once the first digit is drawn
 *   model           the description of the model, as in onnx.json
 *   state           label, z and plane; state.set({label, z, plane}) moves the page
 *   decode(z, label) resolves to an image: H·W numbers in [0, 1], rows from the top, ink is 1
 * and the document gets an event `latentlab:drawn` whenever a digit was drawn.
 */

import { Swing } from "./animation.js";
import { buildHero, buildLabels, buildSliders, buildStrip, tellDigit } from "./controls.js";
import { loadDecoder } from "./decoder.js";
import { fromHash, toHash } from "./link.js";
import { Problem } from "./loading.js";
import { Painter } from "./painter.js";
import { buildPlane } from "./plane.js";
import { State } from "./state.js";
import { latentName, shown } from "./words.js";

const TURN = 0.35; // radians, over most of the range: what may be called a tilt
const SETTLED = 300; // milliseconds without a change after which the address follows

const find = (id) => document.getElementById(id);

async function open() {
  const decoder = await loadDecoder(showProgress, showNotice);
  const state = new State(decoder.model);
  state.set(fromHash(location.hash, state.model), "link");
  describe(state.model);
  const painter = new Painter(decoder, state, {
    digit: find("digit"),
    tiles: buildLabels(state),
    strip: buildStrip(state),
    map: find("pad-map"),
    told: (degrees) => tellDigit(state, degrees),
  });
  buildHero(state);
  buildSliders(state);
  buildPlane(state);
  const swing = new Swing(state, find("play"));
  buildButtons(state);
  keepAddress(state, swing);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => painter.all());
  find("loading").hidden = true;
  find("app").hidden = find("facts").hidden = false;
  await painter.all();
  const decode = (z, label) => decoder.decode([z], [label]);
  return { model: decoder.model, state, decode };
}

function describe(model) {
  const tilt = model.tilt_dimension;
  const collapsed = (model.active ?? [true]).every((active) => !active);
  const turns = tilt !== null && Math.abs(model.effects[tilt].change) >= TURN;
  if (turns) find("headline").textContent = "One number turns the digit";
  else if (collapsed) find("headline").textContent = "No number changes the digit";
  find("lead").textContent = turns
    ? `This network draws digits from ${model.latent} numbers. Nobody told it what a slant is, ` +
      `yet ${latentName(tilt)} has learned to lean them to the left and to the right.`
    : collapsed
      ? `This network was to draw digits from ${model.latent} numbers, but all of them have ` +
        "collapsed: whatever they are, the digit hardly changes."
      : `This network draws digits from ${model.latent} numbers. Move them and see what each has ` +
        "learned to do.";
  const kinds = { cvae: "Conditional β-VAE", vae: "β-VAE", autoencoder: "Autoencoder" };
  find("facts").textContent =
    `${kinds[model.model]}, ${model.latent} latents, ${model.size} × ${model.size} pixels. ` +
    "It runs in this page; nothing is sent anywhere.";
}

function buildButtons(state) {
  find("random").addEventListener("click", () => state.randomize());
  find("reset").addEventListener("click", () => state.reset());
  find("copy").addEventListener("click", () => copyLink(state));
  state.listen((_, by) => {
    if (by === "random") say("Random latents");
    if (by === "reset") say("All latents at rest");
    if (by === "pad") {
      const [across, up] = state.plane;
      sayLater(
        `${latentName(across)} ${shown(state.z[across])}, ${latentName(up)} ${shown(state.z[up])}`,
      );
    }
  });
}

async function copyLink(state) {
  history.replaceState(null, "", `#${toHash(state)}`);
  try {
    await navigator.clipboard.writeText(location.href);
    say("Link copied");
  } catch {
    say("The link is in the address bar");
  }
}

let waiting = 0;

function say(text) {
  clearTimeout(waiting);
  find("status").textContent = text;
}

function sayLater(text) {
  clearTimeout(waiting);
  waiting = setTimeout(() => say(text), SETTLED);
}

/** Write the state into the address once it has settled, and follow addresses that are entered. */
function keepAddress(state, swing) {
  let timer = 0;
  const write = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!swing.playing) history.replaceState(null, "", `#${toHash(state)}`);
    }, SETTLED);
  };
  state.listen(write);
  document.addEventListener("latentlab:paused", write);
  addEventListener("hashchange", () => state.set(fromHash(location.hash, state.model), "link"));
}

function showProgress(share) {
  find("loading-bar").value = share;
}

function showNotice(text) {
  find("notice").textContent = text;
  find("notice").hidden = false;
}

function showProblem(problem) {
  const known = problem instanceof Problem;
  find("message-title").textContent = known ? problem.title : "Something went wrong";
  find("message-detail").textContent = known ? problem.detail : String(problem);
  find("message").hidden = false;
  find("loading").hidden = find("app").hidden = true;
}

find("loading").classList.add("started");
window.latentlab = {};
window.latentlab.ready = open().then(
  (page) => Object.assign(window.latentlab, page),
  (problem) => showProblem(problem),
);
