/** The model in the browser: latents and labels to images, with onnxruntime-web. */

import { Problem, fetchFile } from "./loading.js";

const RUNTIME = "vendor/ort.wasm.bundle.min.mjs";
const BINARY = "vendor/ort-wasm-simd-threaded.wasm";
const MODEL = "model/decoder.onnx";
const DESCRIPTION = "model/onnx.json";
const FORMAT = "latentlab digits onnx 1";
const MAGIC = [0x00, 0x61, 0x73, 0x6d];

/**
 * Return the decoder with the description of its model.
 *
 * @param {(share: number) => void} progress called with 0 to 1
 * @param {(text: string) => void} warn told what is wrong without being fatal
 * @throws {Problem}
 */
export async function loadDecoder(progress, warn) {
  if (typeof WebAssembly !== "object") {
    throw new Problem(
      "This browser has no WebAssembly",
      "The model runs in the page itself and needs it. Use a current Firefox, Chrome, Edge or " +
        "Safari, with WebAssembly not switched off.",
    );
  }
  const model = await readDescription();
  const [weights, binary] = await Promise.all([
    fetchFile(MODEL, "model"),
    fetchFile(BINARY, "runtime", progress),
  ]);
  checkBinary(binary, warn);
  const ort = await importRuntime();
  ort.env.wasm.wasmBinary = binary.bytes;
  ort.env.wasm.wasmPaths = { wasm: new URL(BINARY, document.baseURI).href };
  ort.env.wasm.numThreads = 1; // more would need headers that static hosts do not send
  return new Decoder(ort, await openSession(ort, weights.bytes), model);
}

async function readDescription() {
  const { bytes } = await fetchFile(DESCRIPTION, "model");
  let model = null;
  try {
    model = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // told below
  }
  if (model?.format !== FORMAT) {
    throw new Problem(
      "The model file cannot be read",
      `${DESCRIPTION} is not what latentlab digits export writes. Export the model again.`,
    );
  }
  return model;
}

function checkBinary({ bytes, type }, warn) {
  if (!MAGIC.every((byte, index) => bytes[index] === byte)) {
    throw new Problem(
      "The runtime file is damaged",
      `${BINARY} is no WebAssembly. Copy the folder again, as binary files.`,
    );
  }
  if (type !== "application/wasm") {
    warn(
      `The server sends ${BINARY} with the wrong type, ${type || "none"} instead of ` +
        "application/wasm. The page works all the same; other programs may not.",
    );
  }
}

async function importRuntime() {
  try {
    return await import(`./${RUNTIME}`);
  } catch (error) {
    throw new Problem(
      "The runtime did not load",
      `${RUNTIME} is missing or has the wrong type; it must be sent as text/javascript. ` +
        `(${error.message})`,
    );
  }
}

async function openSession(ort, bytes) {
  try {
    return await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  } catch (error) {
    throw new Problem(
      "The model did not start",
      `${MODEL} is damaged, or this browser's WebAssembly lacks SIMD. (${error.message})`,
    );
  }
}

/** Latents and labels to images. */
export class Decoder {
  #ort;
  #session;
  #last = Promise.resolve();

  constructor(ort, session, model) {
    this.#ort = ort;
    this.#session = session;
    this.model = model;
  }

  /**
   * Return images, one after the other: B·H·W numbers in [0, 1], rows from the top, ink is 1.
   *
   * @param {number[][]} latents B lists of L numbers
   * @param {number[]} labels B labels
   * @returns {Promise<Float32Array>}
   */
  decode(latents, labels) {
    // The runtime takes one call at a time.
    const result = this.#last.then(() => this.#run(latents, labels));
    this.#last = result.catch(() => {});
    return result;
  }

  async #run(latents, labels) {
    const count = latents.length;
    const { Tensor } = this.#ort;
    const z = new Tensor("float32", Float32Array.from(latents.flat()), [count, this.model.latent]);
    const label = new Tensor("int64", BigInt64Array.from(labels, BigInt), [count]);
    const { image } = await this.#session.run({ z, label });
    return image.data;
  }
}
