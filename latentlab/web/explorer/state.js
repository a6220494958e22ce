/** Where one is: steps along each direction, strokes, and the blend with another image. */

const DECIMALS = 3;

/** A state, and who wants to know when it changes. */
export class State {
  alphas = [];
  strokes = [];
  blend = 0;

  #listeners = [];
  #limit;

  /** @param {number} limit how far a slider may go */
  constructor(limit) {
    this.#limit = limit;
  }

  /** Call a listener with who changed the state. */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /** Return what an engine decodes. */
  get shown() {
    return { alphas: [...this.alphas], strokes: this.strokes, blend: this.blend };
  }

  /** Return whether it is the start. */
  get atStart() {
    return !this.blend && !this.strokes.length && this.alphas.every((alpha) => !alpha);
  }

  /** Move one direction. */
  move(direction, value, by = "hand") {
    const alphas = [...this.alphas];
    while (alphas.length <= direction) alphas.push(0);
    alphas[direction] = value;
    this.set({ alphas }, by);
  }

  /** Take over alphas, strokes or blend; what is missing stays. */
  set({ alphas = this.alphas, strokes = this.strokes, blend = this.blend }, by = "hand") {
    this.alphas = alphas.map((value) => rounded(Math.min(Math.max(value, -this.#limit), this.#limit)));
    this.strokes = strokes;
    this.blend = rounded(Math.min(Math.max(blend, 0), 1));
    this.#listeners.forEach((listener) => listener(by));
  }

  /** Go back to the start. */
  reset() {
    this.set({ alphas: this.alphas.map(() => 0), strokes: [], blend: 0 }, "reset");
  }
}

function rounded(value) {
  return Number(value.toFixed(DECIMALS)) + 0; // + 0 makes 0 of −0
}
