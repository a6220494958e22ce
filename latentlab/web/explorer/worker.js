/** The thread that decodes: states in, images out. local.js talks to it. */

import { latentOf, matched } from "./latent.js";

const PROCESSOR = { code: "vendor/ort.wasm.bundle.min.mjs", binary: "vendor/ort-wasm-simd-threaded.wasm" };
const GRAPHICS = { code: "vendor/ort.jspi.bundle.min.mjs", binary: "vendor/ort-wasm-simd-threaded.jspi.wasm" };
const MOST_THREADS = 4;
const CLOSE = 2 / 255; // in images of [−1, 1]: one level of 256
const TRIED = 2.5; // steps of the state that both must agree on
const TURNS = 3; // of which the quickest counts
const PATIENCE = 15_000; // milliseconds for WebGPU to decode: some only imitate a graphics processor

let root = "";
let ort = null; // the runtime that decodes now
let fallback = null; // what decoded before WebGPU: the runtime and its sessions
let models = [];
let match = null;
let last = Promise.resolve(); // one thing after the other: a model decodes one latent at a time

self.addEventListener("message", ({ data }) => {
  if (data.type === "compare") prepareGraphics();
  else last = last.then(() => answer(data));
});

async function answer(data) {
  try {
    if (data.type === "load") await load(data);
    else await show(data);
  } catch (error) {
    self.postMessage({ type: "failed", text: String(error.message ?? error) });
  }
}

async function load({ root: place, models: described, match: found }) {
  root = place;
  match = found;
  const fetched = described.map((model) =>
    Promise.all([model.decoder, model.latent, model.directions].map(fetchBytes)),
  );
  const [runtime, ...files] = await Promise.all([startRuntime(PROCESSOR), ...fetched]);
  ort = runtime;
  models = files.map(([decoder, latent, directions], k) => ({
    ...described[k],
    content: decoder,
    start: floats(latent),
    vectors: floats(directions),
  }));
  for (const model of models) model.session = await sessionOf(ort, model, "wasm");
  self.postMessage({ type: "loaded", threads: ort.env.wasm.numThreads });
}

async function startRuntime({ code, binary }) {
  const content = await fetchBytes(new URL(binary, root).href);
  const runtime = await import(new URL(code, root).href);
  runtime.env.wasm.wasmBinary = content;
  runtime.env.wasm.wasmPaths = { wasm: new URL(binary, root).href };
  runtime.env.wasm.numThreads = threads();
  return runtime;
}

/** Return how many threads decode. They need headers that few static hosts send; isolate.js adds them. */
function threads() {
  const cores = navigator.hardwareConcurrency;
  if (!self.crossOriginIsolated || typeof SharedArrayBuffer === "undefined" || cores < 2) return 1;
  // All wait for the slowest, so of three cores or more one is left to the page and to others.
  return Math.min(Math.max(cores - 1, 2), MOST_THREADS);
}

function sessionOf(runtime, { content }, provider) {
  return runtime.InferenceSession.create(content, { executionProviders: [provider] });
}

async function fetchBytes(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address} is missing (${response.status}). Copy the whole folder again.`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Return little-endian float32 numbers. */
function floats(bytes) {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** Load the runtime for WebGPU, while others decode; then compare. */
async function prepareGraphics() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter || !("Suspending" in WebAssembly)) {
      tellBackend({ name: "wasm", why: "this browser has no WebGPU that the runtime can use" });
      return;
    }
    const runtime = await startRuntime(GRAPHICS);
    const sessions = [];
    for (const model of models) sessions.push(await sessionOf(runtime, model, "webgpu"));
    const found = await within(PATIENCE, timedAll(runtime, sessions)); // meanwhile, others decode
    last = last.then(() => compare(runtime, sessions, found)).catch(tellFailure);
  } catch (error) {
    tellFailure(error);
  }
}

/** Go on with WebGPU if it decodes the same as WebAssembly, and faster; say what decodes, and why. */
async function compare(runtime, sessions, found) {
  const wanted = await timedAll(ort, models.map((model) => model.session));
  const differences = wanted.map(({ values }, k) => largestDifference(values, found[k].values));
  const difference = Math.max(...differences);
  const [before, after] = [wanted, found].map((all) => all.reduce((sum, { seconds }) => sum + seconds, 0));
  const facts = { difference: difference / CLOSE, before, after };
  if (Number.isNaN(difference)) {
    tellBackend({ name: "wasm", why: "WebGPU decodes values that are not numbers here" });
  } else if (difference > CLOSE) {
    tellBackend({ name: "wasm", why: "WebGPU decodes something else here", ...facts });
  } else if (after >= before) {
    tellBackend({ name: "wasm", why: "WebGPU is slower here", ...facts });
  } else {
    fallback = { runtime: ort, sessions: models.map((model) => model.session) };
    decodeWith(runtime, sessions);
    tellBackend({ name: "webgpu", why: "", ...facts });
  }
}

function tellBackend(facts) {
  for (const model of models) delete model.content; // needed no more
  self.postMessage({ type: "backend", ...facts });
}

function tellFailure(error) {
  tellBackend({ name: "wasm", why: `WebGPU cannot be used here: ${error.message ?? error}` });
}

function decodeWith(runtime, sessions) {
  ort = runtime;
  models.forEach((model, k) => Object.assign(model, { session: sessions[k] }));
}

/** Return what a promise gives; reject if it takes too long. */
function within(milliseconds, promise) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("it takes too long")), milliseconds));
  return Promise.race([promise, late]);
}

/** Return the image of one state in each model, and how long it took. */
async function timedAll(runtime, sessions) {
  const found = [];
  for (const [k, model] of models.entries()) found.push(await timed(runtime, sessions[k], model));
  return found;
}

async function timed(runtime, session, model) {
  const alphas = model.steps.map((_, place) => (place % 2 ? -TRIED : TRIED) / (1 + place));
  const latent = latentOf(model, { alphas, strokes: [] });
  let [seconds, values] = [Infinity, null];
  for (let turn = 0; turn < TURNS; turn++) {
    const begun = performance.now();
    values = await run(runtime, session, model, latent);
    seconds = Math.min(seconds, (performance.now() - begun) / 1000);
  }
  return { seconds, values };
}

/** Return the largest difference; NaN if a single one is not a number. */
function largestDifference(one, other) {
  let largest = 0;
  for (let place = 0; place < one.length; place++) {
    const difference = Math.abs(one[place] - other[place]);
    if (Number.isNaN(difference)) return NaN;
    if (difference > largest) largest = difference;
  }
  return largest;
}

async function show({ id, state }) {
  const begun = performance.now();
  let images;
  try {
    images = await decodeAll(state);
  } catch (error) {
    if (!fallback) throw error;
    decodeWith(fallback.runtime, fallback.sessions); // the graphics processor was lost, say
    fallback = null;
    self.postMessage({ type: "backend", name: "wasm", why: `WebGPU failed: ${error.message ?? error}` });
    images = await decodeAll(state);
  }
  const seconds = (performance.now() - begun) / 1000;
  self.postMessage({ type: "shown", id, images, seconds }, images);
}

async function decodeAll(state) {
  const images = [];
  for (const [k, model] of models.entries()) {
    images.push(await decode(model, k && match ? matched(state, match) : state));
  }
  return images;
}

async function decode(model, state) {
  const values = await run(ort, model.session, model, latentOf(model, state));
  return createImageBitmap(toPixels(values, model.size), { colorSpaceConversion: "none" });
}

/** Return the image of a latent: 3·H·W numbers in [−1, 1]. */
async function run(runtime, session, { shape }, values) {
  const latent = new runtime.Tensor("float32", values, [1, ...shape]);
  const { image } = await session.run({ latent });
  const found = image.data.slice();
  image.dispose();
  return found;
}

/** Return an image of 3·H·W numbers in [−1, 1], one color after the other, as pixels. */
function toPixels(values, [width, height]) {
  const pixels = new ImageData(width, height);
  const count = width * height;
  for (let place = 0; place < count; place++) {
    // A clamped array rounds to the nearest level, halves to the even one, as Python does.
    for (let color = 0; color < 3; color++) {
      pixels.data[4 * place + color] = (values[color * count + place] + 1) * 127.5;
    }
    pixels.data[4 * place + 3] = 255;
  }
  return pixels;
}
