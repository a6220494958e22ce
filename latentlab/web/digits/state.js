/** Where we are: the label, the latents, and the two latents of the plane. */

const DECIMALS = 2;

/** A label, latents and a plane, and who wants to know when they change. */
export class State {
  #listeners = [];

  /** @param {object} model the description in onnx.json */
  constructor(model) {
    this.model = model;
    this.hero = model.tilt_dimension ?? 0;
    this.label = model.labels[Math.min(4, model.labels.length - 1)];
    this.z = model.rest.map(rounded);
    this.plane = firstPlane(model, this.hero);
  }

  /** Call a listener with the names of what has changed and who changed it. */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /** Move one latent, within its range. */
  move(latent, value, by) {
    this.set({ z: this.z.map((old, index) => (index === latent ? value : old)) }, by);
  }

  /**
   * Take over a label, latents or plane; what is missing stays.
   *
   * @param {{label?: number, z?: number[], plane?: number[]}} change
   * @param {string} by "hand", "link", "animation", ...
   */
  set({ label = this.label, z = this.z, plane = this.plane }, by = "hand") {
    const next = z.map((value, latent) => rounded(within(value, this.model.ranges[latent])));
    const moved = next.flatMap((value, latent) => (value === this.z[latent] ? [] : [latent]));
    const turned = String(plane) !== String(this.plane);
    const changed = { label: label !== this.label, moved, plane: turned };
    Object.assign(this, { label, z: next, plane: [...plane] });
    if (changed.label || moved.length || changed.plane) {
      this.#listeners.forEach((listener) => listener(changed, by));
    }
  }

  /** Draw the latents from the prior, or from how the codes are spread where there is none. */
  randomize() {
    const { rest, spread } = this.model;
    this.set({ z: rest.map((middle, latent) => middle + spread[latent] * normal()) }, "random");
  }

  /** Put every latent where it is at rest. */
  reset() {
    this.set({ z: this.model.rest }, "reset");
  }
}

function firstPlane(model, hero) {
  const others = model.rest.map((_, latent) => latent).filter((latent) => latent !== hero);
  const busy = others.filter((latent) => model.effects[latent]);
  const [across, up] = [...busy, ...others.filter((latent) => !busy.includes(latent)), hero];
  return [across, up ?? across];
}

/** Return a value no further out than a range allows. */
export function within(value, [low, high]) {
  return Math.min(Math.max(value, low), high);
}

function rounded(value) {
  return Number(value.toFixed(DECIMALS)) + 0; // + 0 makes 0 of −0
}

function normal() {
  // Box and Muller; 1 − random() is never 0.
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
