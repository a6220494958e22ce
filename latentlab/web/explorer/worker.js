/** The thread that decodes: states in, images out. local.js talks to it. */

import { latentOf, matched } from "./latent.js";

const RUNTIME = "vendor/ort.wasm.bundle.min.mjs";
const BINARY = "vendor/ort-wasm-simd-threaded.wasm";
const MOST_THREADS = 4;

let ort = null;
let models = [];
let match = null;

self.addEventListener("message", async ({ data }) => {
  try {
    if (data.type === "load") await load(data);
    else await show(data);
  } catch (error) {
    self.postMessage({ type: "failed", text: String(error.message ?? error) });
  }
});

async function load({ root, models: described, match: found }) {
  const fetched = described.map((model) =>
    Promise.all([model.decoder, model.latent, model.directions].map(fetchBytes)),
  );
  const [binary, ...files] = await Promise.all([fetchBytes(new URL(BINARY, root).href), ...fetched]);
  ort = await import(new URL(RUNTIME, root).href);
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.wasmPaths = { wasm: new URL(BINARY, root).href };
  // Threads need headers that few static hosts send.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  match = found;
  models = [];
  for (const [k, [decoder, latent, directions]] of files.entries()) {
    const session = await ort.InferenceSession.create(decoder, { executionProviders: ["wasm"] });
    models.push({ ...described[k], session, start: floats(latent), vectors: floats(directions) });
  }
  self.postMessage({ type: "loaded" });
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

async function show({ id, state }) {
  const begun = performance.now();
  const images = [];
  for (const [k, model] of models.entries()) {
    images.push(await decode(model, k && match ? matched(state, match) : state));
  }
  const seconds = (performance.now() - begun) / 1000;
  self.postMessage({ type: "shown", id, images, seconds }, images);
}

async function decode(model, state) {
  const values = latentOf(model, state);
  const latent = new ort.Tensor("float32", values, [1, ...model.shape]);
  const { image } = await model.session.run({ latent });
  const pixels = toPixels(image.data, model.size);
  image.dispose();
  return createImageBitmap(pixels, { colorSpaceConversion: "none" });
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
