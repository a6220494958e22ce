/** The engine that decodes in this browser, in a thread of its own; see engine.js. */

import { Problem } from "./engine.js";
import { StoredEngine } from "./stored.js";

export class LocalEngine extends StoredEngine {
  #worker = null;
  #loaded;
  #id = 0;
  #busy = null; // what the worker decodes now
  #next = null; // the newest state that waits for it

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
      const fail = (text) => reject(new Problem("The decoder did not start", text));
      this.#worker.addEventListener("error", (event) => fail(event.message || "worker.js cannot be loaded"));
      this.#worker.addEventListener("message", (event) => {
        if (event.data.type === "loaded") resolve();
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
