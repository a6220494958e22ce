/**
 * The page: an engine, a state, and the parts that show them.
 *
 * `window.latentlab` is there for scripts and tests:
 *   ready     resolves once the first image is drawn
 *   engine    see engine.js
 *   scene()   the scene that is shown
 *   viewer    viewer.settled says whether the image of the state is drawn, without loss
 *   state     alphas, strokes and blend; state.set({alphas, strokes, blend}) moves the page
 * and the document gets an event `latentlab:drawn`, with the frame as its detail, whenever an image
 * was drawn.
 */

import { find } from "./dom.js";
import { Problem } from "./engine.js";
import { buildSetup } from "./setup.js";
import { buildSliders } from "./sliders.js";
import { SocketEngine } from "./socket.js";
import { State } from "./state.js";
import { Viewer } from "./viewer.js";

/** Start the page on an engine; resolves once the first image is drawn. */
export async function start(engine) {
  await engine.open();
  const state = new State(engine.limits.alpha);
  let shown = null;
  const page = { engine, state, say, scene: () => shown };
  const viewer = (page.viewer = new Viewer(page));
  const parts = [buildSliders(page), buildSetup(page)];
  engine.listen("problem", ({ text }) => say(text, "problem"));
  engine.listen("closed", () => {
    say("The server has stopped. Start latentlab explore again and reload the page.", "problem");
  });
  const take = (scene) => {
    if (shown && shown.image.sha256 !== scene.image.sha256) state.reset();
    shown = scene;
    describe(scene);
    viewer.take(scene);
    parts.forEach((part) => part.take(scene));
  };
  engine.listen("scene", take);
  take(await engine.scene());
  state.listen(() => viewer.show());
  buildButtons(page);
  find("loading").hidden = true;
  find("app").hidden = find("facts").hidden = false;
  await viewer.show();
  return page;
}

function describe(scene) {
  const names = scene.models.map((model) => model.name).join(" and ");
  find("headline").textContent = `${scene.image.name} in ${names}`;
  document.title = `${scene.image.name} · ${names} · latentlab`;
  find("lead").textContent =
    "Every slider moves the latent along one direction, and the decoder shows what that changes.";
}

function buildButtons({ state, say }) {
  find("reset").addEventListener("click", () => {
    state.reset();
    say("Back at the start");
  });
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

export function run(engine) {
  find("loading").classList.add("started");
  window.latentlab = {};
  window.latentlab.ready = start(engine).then(
    (page) => Object.assign(window.latentlab, page),
    (problem) => showProblem(problem),
  );
}

run(new SocketEngine(new URL("socket", location.href.replace(/^http/, "ws"))));
