/** Draws what has changed: the digit at once, whatever else shows images right after it. */

import { drawPixels, drawSmooth, inkColor, slantOf } from "./drawing.js";

const STRIP = 11;
const GRID = 7;

export class Painter {
  #decoder;
  #state;
  #places;
  #wanted = new Set();
  #running = false;
  #color = inkColor();

  /**
   * @param {import("./decoder.js").Decoder} decoder
   * @param {import("./state.js").State} state
   * @param {object} places canvases: digit, tiles, strip, map; and told(slant), called once drawn
   */
  constructor(decoder, state, places) {
    this.#decoder = decoder;
    this.#state = state;
    this.#places = places;
    state.listen((changed) => this.#request(changed));
  }

  /** Draw everything; resolves when it is drawn. */
  async all() {
    this.#color = inkColor();
    await this.#draw(["digit", "tiles", "strip", "map"]);
  }

  #request({ label, moved, plane }) {
    const { hero, plane: axes } = this.#state;
    if (label || moved.length) this.#wanted.add("digit");
    if (moved.length) this.#wanted.add("tiles");
    if (label || moved.some((latent) => latent !== hero)) this.#wanted.add("strip");
    if (label || plane || moved.some((latent) => !axes.includes(latent))) this.#wanted.add("map");
    this.#start();
  }

  async #start() {
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#wanted.size) {
        const [next] = ["digit", "tiles", "strip", "map"].filter((part) => this.#wanted.has(part));
        this.#wanted.delete(next);
        await this.#draw([next]);
        // Whatever the hand does meanwhile comes first.
        if (next !== "digit" || this.#wanted.size) await new Promise((go) => setTimeout(go));
      }
    } finally {
      this.#running = false;
    }
  }

  async #draw(parts) {
    const draw = {
      digit: () => this.#drawDigit(),
      tiles: () => this.#drawTiles(),
      strip: () => this.#drawStrip(),
      map: () => this.#drawMap(),
    };
    for (const part of parts) await draw[part]();
  }

  async #drawDigit() {
    const { z, label, model } = this.#state;
    const image = await this.#decoder.decode([z], [label]);
    drawSmooth(this.#places.digit, image, model.size, this.#color);
    this.#places.told(slantOf(image, model.size));
    document.dispatchEvent(new CustomEvent("latentlab:drawn", { detail: { label, z: [...z] } }));
  }

  async #drawTiles() {
    const { z, model } = this.#state;
    if (!model.sees_label) return;
    const labels = model.labels;
    this.#drawEach(this.#places.tiles, await this.#decoder.decode(labels.map(() => z), labels));
  }

  async #drawStrip() {
    const { z, label, hero, model } = this.#state;
    const latents = stripValues(model, hero).map((value) => z.with(hero, value));
    const labels = latents.map(() => label);
    this.#drawEach(this.#places.strip, await this.#decoder.decode(latents, labels));
  }

  #drawEach(canvases, images) {
    const { size } = this.#state.model;
    canvases.forEach((canvas, index) => {
      const image = images.subarray(index * size * size, (index + 1) * size * size);
      drawPixels(canvas, image, size, this.#color);
    });
  }

  async #drawMap() {
    const { z, label, plane, model } = this.#state;
    const [across, up] = plane;
    const rows = evenly(model.ranges[up], GRID).reverse();
    const columns = evenly(model.ranges[across], GRID);
    const latents = rows.flatMap((y) => columns.map((x) => z.with(up, y).with(across, x)));
    const labels = latents.map(() => label);
    const images = await this.#decoder.decode(latents, labels);
    drawPixels(this.#places.map, images, model.size, this.#color, GRID);
  }
}

/** Return the values at which the strip shows a latent. */
export function stripValues(model, latent) {
  return evenly(model.ranges[latent], STRIP);
}

function evenly([low, high], count) {
  return Array.from({ length: count }, (_, step) => low + ((high - low) * step) / (count - 1));
}
