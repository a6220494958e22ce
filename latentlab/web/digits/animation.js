/** Play and pause: the large slider swings by itself. */

import { stripValues } from "./painter.js";
import { within } from "./state.js";

const PERIOD = 5000; // milliseconds there and back
const PAUSE = 900; // between steps, where less motion is asked for

/** Let a button swing the hero latent until it is pressed again or a hand takes over. */
export class Swing {
  #state;
  #button;
  #frame = 0;
  #timer = 0;

  constructor(state, button) {
    this.#state = state;
    this.#button = button;
    button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    state.listen(({ moved }, by) => {
      if (this.playing && by !== "animation" && moved.includes(state.hero)) this.pause();
    });
  }

  /** Whether it is swinging. */
  get playing() {
    return Boolean(this.#frame || this.#timer);
  }

  play() {
    this.#button.textContent = "Pause";
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.#walk();
    else this.#swing();
  }

  pause() {
    cancelAnimationFrame(this.#frame);
    clearInterval(this.#timer);
    this.#frame = this.#timer = 0;
    this.#button.textContent = "Play";
    document.dispatchEvent(new CustomEvent("latentlab:paused"));
  }

  #swing() {
    const { hero, model, z } = this.#state;
    const [low, high] = model.ranges[hero];
    const middle = (low + high) / 2;
    const reach = (high - low) / 2;
    // Rounding may put the end a hair beyond 1, where there is no arc sine.
    const begun = Math.asin(within((z[hero] - middle) / reach, [-1, 1]));
    let start = null;
    const next = (now) => {
      start ??= now;
      const phase = begun + (2 * Math.PI * (now - start)) / PERIOD;
      this.#state.move(hero, middle + reach * Math.sin(phase), "animation");
      this.#frame = requestAnimationFrame(next);
    };
    this.#frame = requestAnimationFrame(next);
  }

  #walk() {
    const { hero, model } = this.#state;
    const values = stripValues(model, hero);
    const round = [...values, ...values.slice(1, -1).reverse()];
    let place = round.findIndex((value) => value >= this.#state.z[hero]);
    this.#timer = setInterval(() => {
      place = (place + 1) % round.length;
      this.#state.move(hero, round[place], "animation");
    }, PAUSE);
  }
}
