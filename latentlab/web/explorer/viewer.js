/** The image of the state, what changed since the start, and what the model lost before that. */

import { drawBitmap, find, make, percent, pixelsOf } from "./dom.js";
import { heatMap } from "./heat.js";

const WIDE = 2.5;

export class Viewer {
  #page;
  #models = [];
  #views = [];
  #scene = null;
  #starts = new Map(); // "model/exact" → pixels of the start, compressed as frames are
  #startId = -1; // of the newest frame of the start
  #newest = 0;
  #pending = 0;

  /** Whether the image of the current state is drawn, without loss. */
  settled = false;

  constructor(page) {
    this.#page = page;
    page.engine.listen("frame", (frame) => this.#draw(frame));
  }

  /** Show another scene; the same image keeps what is drawn. */
  take(scene) {
    const same = this.#scene?.models.every((model, k) => model.pictures === scene.models[k]?.pictures);
    const blended = this.#page.state.blend && this.#scene?.other?.picture !== scene.other?.picture;
    this.#scene = scene;
    if (same) {
      if (blended) this.show(); // the state is the same, and its image is not
      return;
    }
    this.#models = scene.models;
    this.#starts.clear();
    this.#startId = -1;
    this.#buildViews();
    this.#buildOriginals();
    if (this.#newest) this.show();
  }

  /** Ask for the image of the state, and draw it unless a newer one overtakes it. */
  async show() {
    this.settled = false;
    this.#pending++;
    const { atStart } = this.#page.state; // it may have moved on when the frame comes
    try {
      const frame = await this.#page.engine.show(this.#page.state.shown);
      this.#pending--;
      if (frame && atStart) this.#startId = frame.id;
      if (frame) this.#draw(frame);
    } catch (problem) {
      this.#pending--;
      this.#page.say(problem.detail ?? String(problem), "problem");
    }
  }

  #draw(frame) {
    if (frame.id < this.#newest || frame.images.length !== this.#views.length) return;
    this.#newest = frame.id;
    this.settled = frame.exact && !this.#pending;
    frame.images.forEach((image, index) => {
      const view = this.#views[index];
      drawBitmap(view.now, image);
      const before = this.#start(index, frame, image);
      if (before) drawHeat(view, heatMap(before, pixelsOf(image)));
    });
    document.dispatchEvent(new CustomEvent("latentlab:drawn", { detail: frame }));
  }

  /** Return the pixels of the start as they look in such a frame. */
  #start(index, frame, image) {
    const key = `${index}/${frame.exact}`;
    if (frame.id === this.#startId) this.#starts.set(key, pixelsOf(image));
    return this.#starts.get(key) ?? pixelsOf(this.#models[index].pictures.reconstruction);
  }

  #buildViews() {
    const several = this.#models.length > 1;
    this.#views = this.#models.map((model) => {
      const name = several ? `${model.name}: ` : "";
      const now = canvasOf(model, `${name}the image of the current state`);
      const heat = canvasOf(model, `${name}what changed since the start`);
      const told = make("span", { className: "told" });
      const element = make(
        "div",
        { className: isWide(model) ? "view wide" : "view" },
        make("figure", {}, frameOf(now, "frame now"), caption(several ? model.name : "now")),
        make("figure", {}, frameOf(heat), caption("change", told)),
      );
      return { element, now, heat, told };
    });
    find("views").replaceChildren(...this.#views.map((view) => view.element));
  }

  #buildOriginals() {
    find("originals").classList.toggle("wide", isWide(this.#models[0]));
    find("originals").replaceChildren(
      ...this.#models.flatMap((model, index) => originalsOf(model, index, this.#models.length > 1)),
    );
  }
}

function originalsOf(model, index, several) {
  const { image, reconstruction } = model.pictures;
  const lost = heatMap(pixelsOf(image), pixelsOf(reconstruction));
  const canvases = ["image", "reconstruction", "difference"].map((name) =>
    canvasOf(model, several ? `${model.name}: ${name}` : name),
  );
  drawBitmap(canvases[0], image);
  drawBitmap(canvases[1], reconstruction);
  canvases[2].getContext("2d").putImageData(lost.colors, 0, 0);
  const psnr = model.psnr === null ? "nothing lost" : `${model.psnr.toFixed(2)} dB`;
  const texts = ["image", "reconstruction", "difference"];
  const told = [model.size.join(" × "), psnr, `scale to ${percent(lost.limit)}`];
  return canvases.flatMap((canvas, k) =>
    index && !k
      ? []
      : [
          make(
            "figure",
            {},
            frameOf(canvas),
            caption(several && k ? `${model.name}: ${texts[k]}` : texts[k], make("span", { className: "told", textContent: told[k] })),
          ),
        ],
  );
}

/** Return whether an image has more room above another one than beside it. */
function isWide({ size: [width, height] }) {
  return width > WIDE * height;
}

/** Return a canvas in a frame of its shape, which a tall image does not stretch. */
function frameOf(canvas, className = "frame") {
  const frame = make("div", { className }, canvas);
  frame.style.setProperty("--shape", canvas.width / canvas.height);
  return frame;
}

function caption(text, ...more) {
  return make("figcaption", {}, make("span", { textContent: text }), ...more);
}

function canvasOf(model, label) {
  const [width, height] = model.size;
  return make("canvas", { width, height, role: "img", "aria-label": label });
}

function drawHeat(view, { colors, mean, limit }) {
  view.heat.getContext("2d").putImageData(colors, 0, 0);
  const still = mean === 0;
  view.told.textContent = still ? "nothing yet" : `mean ${percent(mean)}, scale to ${percent(limit)}`;
}
