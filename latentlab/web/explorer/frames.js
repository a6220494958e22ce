/** The engine of images that were decoded before: one direction at a time; see engine.js. */

import { StoredEngine, fetchBitmap } from "./stored.js";

export class FramesEngine extends StoredEngine {
  #id = 0;
  #kept = new Map(); // direction → step → promise of the images of each model

  /** Steps along a direction at which there are images. */
  get alphas() {
    return this.description.frames.alphas;
  }

  async show({ alphas }) {
    const id = ++this.#id;
    const moved = alphas.findIndex((alpha) => alpha);
    const step = nearest(this.alphas, alphas[moved] ?? 0);
    const images = await this.#images(moved, step);
    if (id !== this.#id) return null;
    if (moved >= 0) this.#fetchAll(moved, step);
    return { id, exact: false, images, seconds: 0 };
  }

  #images(direction, step) {
    const atStart = direction < 0 || !this.alphas[step];
    const name = atStart ? "start" : `${direction}-${step}`;
    if (!this.#kept.has(name)) {
      const files = this.description.models.map((_, k) => fetchBitmap(`frames/${k}/${name}.jpg`));
      const images = Promise.all(files);
      images.catch(() => this.#kept.delete(name)); // so that the next try asks again
      this.#kept.set(name, images);
    }
    return this.#kept.get(name);
  }

  /** Fetch the other images of a direction, the nearest first, and forget those of others. */
  #fetchAll(direction, step) {
    for (const name of this.#kept.keys()) {
      if (name !== "start" && !name.startsWith(`${direction}-`)) this.#kept.delete(name);
    }
    const steps = this.alphas.map((_, place) => place);
    steps.sort((one, other) => Math.abs(one - step) - Math.abs(other - step));
    steps.forEach((one) => this.#images(direction, one).catch(() => {}));
  }
}

function nearest(values, wanted) {
  const distances = values.map((value) => Math.abs(value - wanted));
  return distances.indexOf(Math.min(...distances));
}
