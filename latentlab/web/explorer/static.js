/** The page on files beside it: it decodes in this browser, or shows what was decoded before. */

import { find, make } from "./dom.js";
import { FramesEngine } from "./frames.js";
import { isolate, undoIsolation } from "./isolate.js";
import { LocalEngine } from "./local.js";
import { run, say, sizesOf } from "./page.js";
import { readDescription } from "./stored.js";

const ENGINES = { decoder: LocalEngine, frames: FramesEngine };
const FINISH = { decoder: finishLocal, frames: finishFrames };

document.head.append(make("link", { rel: "stylesheet", href: "static.css" }));
find("loading-text").textContent = "Loading the image…";
try {
  const description = await readDescription();
  if (description.engine === "decoder") await isolate();
  const engine = new ENGINES[description.engine](description);
  run(engine);
  window.latentlab.ready.then((page) => page && FINISH[description.engine](page, description));
} catch (problem) {
  run({ open: () => Promise.reject(problem) });
}

async function finishLocal({ engine }, description) {
  tellFacts(description, "The decoder runs in this browser; nothing is sent anywhere.");
  const tell = (backend) => {
    tellFacts(description, `${toldOf(backend, engine.threads)}; nothing is sent anywhere.`);
  };
  engine.listen("backend", tell);
  say("Loading the decoder…");
  try {
    await engine.loaded;
    say("The decoder is ready");
    if (!description.webgpu) tell({ name: "wasm", why: "" });
  } catch (problem) {
    await undoIsolation();
    say(`${problem.title}. ${problem.detail}`, "problem");
  }
}

/** Return what decodes, and what the comparison at the start found. */
function toldOf({ name, why, difference, before, after }, threads) {
  const within = difference?.toFixed(difference < 0.1 ? 3 : 2);
  if (name === "webgpu") {
    return (
      "The decoder runs in this browser, on WebGPU: at the start both decoded one image, and it was within " +
      `${within} levels of 255 of WebAssembly and ${(before / after).toFixed(1)} times as fast`
    );
  }
  const told = difference === undefined ? "" : `, ${within} levels of 255 apart`;
  const processors = threads > 1 ? ` on ${threads} processors` : "";
  return `The decoder runs in this browser, in WebAssembly${processors}${why && ` (${why}${told})`}`;
}

/** Leave one direction at a time, in the steps that there are images of. */
function finishFrames({ engine, state }, description) {
  const [first, second] = engine.alphas;
  tellFacts(
    description,
    `The images were decoded beforehand, one for every ${second - first} steps along each direction ` +
      `(${megabytes(description.frames.bytes)} MB, JPEG); nothing is sent anywhere.`,
  );
  find("tools").hidden = find("random").hidden = true;
  const note = find("directions-notes");
  note.textContent = `This page moves along one direction at a time. ${note.textContent}`;
  for (const input of document.querySelectorAll("#sliders input")) {
    Object.assign(input, { step: second - first, min: first, max: engine.alphas.at(-1) });
  }
  let moved = -1; // the direction that was moved last
  const keepOne = () => {
    const others = state.alphas.flatMap((alpha, k) => (alpha && k !== moved ? [k] : []));
    if (!others.length && !state.strokes.length) return;
    moved = others[0] ?? moved;
    const kept = state.alphas.map((alpha, k) => (k === moved ? onGrid(alpha, engine.alphas) : 0));
    if (kept.join() !== state.alphas.join() || state.strokes.length) state.set({ alphas: kept, strokes: [] });
  };
  state.listen(keepOne);
  keepOne(); // of what a link brought
}

function onGrid(value, values) {
  return values.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best));
}

function tellFacts({ scene, version }, how) {
  find("facts").textContent = `${sizesOf(scene)} ${how} Made with latentlab ${version}.`;
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}
