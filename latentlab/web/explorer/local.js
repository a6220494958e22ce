/** The engine that decodes in this browser, in a thread of its own; see engine.js. */

import { Problem } from "./engine.js";
import { StoredEngine } from "./stored.js";

const QUIET = 700; // milliseconds

/** Also tells "backend" ({name: "wasm" | "webgpu", why, difference, before, after}): what decodes. */
export class LocalEngine extends StoredEngine {
  /** On how many processors WebAssembly decodes, once there is a decoder. */
  threads = 1;

  #worker = null;
  #loaded;
  #id = 0;
  #busy = null; // what the worker decodes now
  #next = null; // the newest state that waits for it
  #crash = null; // what ended the worker

  async open() {
    if (typeof WebAssembly !== "object") {
      throw new Problem(
        "This browser has no WebAssembly",
        "The decoder runs in the page itself and needs it. Use a current Firefox, Chrome, Edge or Safari.",
      );
    }
    const opened = super.open();
    this.#loaded = this.#load();
    this.#loaded.catch(() => {}); // told by show
    await opened;
  }

  /** Resolves once there is a decoder. */
  get loaded() {
    return this.#loaded;
  }

  show(state) {
    if (this.#crash) return Promise.reject(this.#crash);
    this.#next?.resolve(null);
    this.#next = null;
    const id = ++this.#id;
    const { alphas, strokes } = state;
    if (!strokes.length && alphas.every((alpha) => !alpha)) {
      return Promise.resolve({ id, exact: true, images: this.reconstructions, seconds: 0 });
    }
    return new Promise((resolve, reject) => {
      this.#next = { id, state: { alphas, strokes }, resolve, reject };
      this.#loaded.then(() => this.#begin(), reject);
    });
  }

  /** Give the worker the newest state, if it is free. */
  #begin() {
    if (this.#busy || !this.#next) return;
    this.#busy = this.#next;
    this.#next = null;
    const { id, state } = this.#busy;
    this.#worker.postMessage({ type: "show", id, state });
  }

  /** Try WebGPU once nothing is decoded: that takes a moment. */
  #compareSoon() {
    if (!this.description.webgpu) return;
    setTimeout(() => {
      if (this.#busy) this.#compareSoon();
      else this.#worker.postMessage({ type: "compare" });
    }, QUIET);
  }

  /** Say that the worker has ended, to who waits and to who asks later. */
  #end(text) {
    this.#crash = new Problem(
      "The decoder has stopped",
      `The decoder ended unexpectedly${text ? ` (${text})` : ""}. Reload the page to start it again; the address keeps where you are.`,
    );
    this.#worker.terminate();
    this.#busy?.reject(this.#crash);
    this.#next?.reject(this.#crash);
    this.#busy = this.#next = null;
    this.tell("problem", { text: this.#crash.detail });
  }

  #hear({ data }) {
    const { resolve, reject } = this.#busy;
    this.#busy = null;
    if (data.type === "failed") reject(new Problem("The decoder failed", data.text));
    else resolve({ ...data, exact: true });
    this.#begin();
  }

  #load() {
    const { models, scene } = this.description;
    const place = (address) => new URL(address, document.baseURI).href;
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    return new Promise((resolve, reject) => {
      let loaded = false;
      const fail = (text) => reject(new Problem("The decoder did not start", text));
      this.#worker.addEventListener("error", (event) => {
        if (loaded) this.#end(event.message);
        else fail(event.message || "worker.js cannot be loaded");
      });
      this.#worker.addEventListener("messageerror", () => loaded && this.#end("an answer that cannot be read"));
      this.#worker.addEventListener("message", (event) => {
        if (event.data.type === "loaded") {
          loaded = true;
          this.threads = event.data.threads;
          resolve();
          this.#compareSoon();
        } else if (event.data.type === "backend") this.tell("backend", event.data);
        else if (this.#busy) this.#hear(event);
        else fail(event.data.text);
      });
      this.#worker.postMessage({
        type: "load",
        root: place("."),
        match: scene.match,
        models: models.map(({ decoder, latent, directions }, k) => ({
          decoder: place(decoder),
          latent: place(latent),
          directions: place(directions),
          shape: scene.models[k].latent.shape,
          size: scene.models[k].size,
          steps: scene.fits[k].directions.map((one) => one.step),
        })),
      });
    });
  }
}
