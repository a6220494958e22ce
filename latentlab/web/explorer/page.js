/**
 * The page: an engine, a state, and the parts that show them.
 *
 * `window.latentlab` is there for scripts and tests:
 *   ready     resolves once the first image is drawn
 *   engine    see engine.js
 *   scene()   the scene that is shown
 *   map       the map of a store, if there is one
 *   viewer    viewer.settled says whether the image of the state is drawn, without loss
 *   state     alphas, strokes and blend; state.set({alphas, strokes, blend}) moves the page
 * and the document gets an event `latentlab:drawn`, with the frame as its detail, whenever an image
 * was drawn.
 */

import { buildBlend } from "./blend.js";
import { find } from "./dom.js";
import { Problem } from "./engine.js";
import { buildIntake } from "./intake.js";
import { buildLatents } from "./latents.js";
import { buildMap } from "./map.js";
import { buildSetup } from "./setup.js";
import { buildSharing } from "./sharing.js";
import { buildSliders } from "./sliders.js";
import { buildSpectrum } from "./spectrum.js";
import { State } from "./state.js";
import { buildTools } from "./tools.js";
import { Viewer } from "./viewer.js";

const FEW = 4; // directions that "Random" moves

/** Start the page on an engine; resolves once the first image is drawn. */
export async function start(engine) {
  await engine.open();
  const state = new State(engine.limits.alpha);
  let shown = null;
  const page = { engine, state, say, scene: () => shown };
  page.viewer = new Viewer(page);
  const setup = buildSetup(page);
  buildMap(page);
  page.search = (region) => setup.search(region);
  const parts = [
    buildSliders(page),
    setup,
    buildSpectrum(),
    buildTools(page),
    buildBlend(page),
    buildLatents(),
    buildIntake(page),
    buildSharing(page),
  ];
  engine.listen("problem", ({ text }) => say(text, "problem"));
  engine.listen("closed", () => {
    say(`${engine.ended.title}. ${engine.ended.detail}`, "problem");
  });
  const take = (scene) => {
    const other = shown && shown.image.sha256 !== scene.image.sha256;
    const turned = shown?.fits.length && scene.fits.length && planOf(shown) !== planOf(scene);
    shown = scene;
    describe(scene);
    page.viewer.take(scene);
    if (other) {
      state.reset();
      say(`${scene.image.name} is encoded${doneOf(scene)}`);
    } else if (turned) {
      state.set({ alphas: [], strokes: [] }, "search"); // they were steps along other directions
    }
    parts.forEach((part) => part.take(scene));
  };
  take(await engine.scene());
  engine.listen("scene", take);
  state.listen(() => page.viewer.show());
  buildButtons(page);
  find("loading").hidden = true;
  find("app").hidden = find("facts").hidden = false;
  await page.viewer.show();
  return page;
}

function planOf({ fits: [fit] }) {
  return JSON.stringify(fit.plan);
}

function describe(scene) {
  const names = scene.models.map((model) => model.name).join(" and ");
  find("headline").textContent = `${scene.image.name} in ${names}`;
  document.title = `${scene.image.name} · ${names} · latentlab`;
  find("lead").textContent =
    "Each slider moves the latent along one direction, and the decoder shows what that changes.";
  find("facts").textContent =
    `${sizesOf(scene)} While something moves, images are compressed (JPEG); when it stops, they are exact. ` +
    "Nothing leaves this machine.";
}

/** Return how large the image is, and what was done to it. */
export function sizesOf(scene) {
  const [{ size, native }] = scene.models;
  const shrunk = native && native.join() !== size.join() ? `, from ${native.join(" × ")}` : "";
  return `${scene.image.name}: ${size.join(" × ")} pixels${shrunk}${doneOf(scene)}.`;
}

function doneOf({ models: [{ preprocessing }] }) {
  return preprocessing && preprocessing !== "unchanged" ? ` (${preprocessing})` : "";
}

function buildButtons({ state, say, scene }) {
  find("reset").addEventListener("click", () => {
    state.reset();
    say("Back at the start");
  });
  find("random").addEventListener("click", () => {
    const count = Math.min(scene().fits[0]?.directions.length ?? 0, FEW);
    state.set({ alphas: Array.from({ length: count }, () => 1.5 * normal()) }, "random");
    if (count) say(`Random steps along the first ${count} directions`);
  });
}

function normal() {
  // Box and Muller; 1 − random() is never 0.
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/** Say something where screen readers hear it, too. */
export function say(text, kind = "") {
  const status = find("status");
  status.textContent = text;
  status.classList.toggle("problem", kind === "problem");
}

function showProblem(problem) {
  const known = problem instanceof Problem;
  find("message-title").textContent = known ? problem.title : "Something went wrong";
  find("message-detail").textContent = known ? problem.detail : String(problem);
  find("message").hidden = false;
  find("loading").hidden = find("app").hidden = true;
}

/** Start the page on an engine, for scripts as `window.latentlab`; say what goes wrong. */
export function run(engine) {
  find("loading").classList.add("started");
  window.latentlab = {};
  window.latentlab.ready = start(engine).then(
    (page) => Object.assign(window.latentlab, page),
    (problem) => showProblem(problem),
  );
}
