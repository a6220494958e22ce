/** Hands on the image: a region to search in, and a brush that moves cells along a direction. */

import { find, make, signed } from "./dom.js";

const TOOLS = { look: "Look", paint: "Paint", region: "Region" };
const POINTS = 1000; // points are kept to a thousandth of the image, as in links
const STRIDE = 0.02; // of the image, for arrow keys and between points of a stroke
const MOST_POINTS = 400;
const MOST_STROKES = 100;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Build the tools on the first model's image; return what takes scenes. */
export function buildTools(page) {
  const tools = new Tools(page);
  return { take: (scene) => tools.take(scene) };
}

class Tools {
  #page;
  #tool = "look";
  #point = [0.5, 0.5];
  #overlay = make("canvas", { className: "overlay", tabIndex: 0 });
  #drag = null; // where a region began
  #stroke = null;
  #buttons = new Map();
  #options;

  constructor(page) {
    this.#page = page;
    this.#options = optionsOf(page, () => this.#draw());
    for (const [name, words] of Object.entries(TOOLS)) {
      if (name === "region" && !page.engine.can.fit) continue;
      const button = make("button", { type: "button", textContent: words });
      button.addEventListener("click", () => this.#choose(name));
      this.#buttons.set(name, button);
    }
    find("tools").append(...this.#buttons.values());
    this.#listen();
    this.#choose("look");
  }

  take(scene) {
    const frame = document.querySelector(".frame.now");
    if (this.#overlay.parentElement !== frame) frame.append(this.#overlay);
    const [width, height] = scene.models[0].size;
    if (this.#overlay.width !== 2 * width || this.#overlay.height !== 2 * height) {
      Object.assign(this.#overlay, { width: 2 * width, height: 2 * height });
    }
    find("tools").hidden = !scene.models.every((model) => model.latent.grid); // tokens have no place on the image
    this.#options.take(scene);
    this.#buttons.get("paint").disabled = !scene.fits.length;
    this.#draw();
  }

  #choose(name) {
    this.#tool = name;
    this.#drag = this.#stroke = null;
    for (const [tool, button] of this.#buttons) button.setAttribute("aria-pressed", String(tool === name));
    const looking = name === "look";
    this.#overlay.hidden = looking;
    find("tool-options").hidden = looking;
    this.#options.show(name);
    const does = name === "paint" ? "arrow keys move the brush, space paints" : "drag a rectangle; or arrow keys move a corner, space sets it";
    this.#overlay.setAttribute("role", "application");
    this.#overlay.setAttribute("aria-label", `${TOOLS[name]} on the image: ${does}`);
    this.#draw();
  }

  #listen() {
    const overlay = this.#overlay;
    overlay.addEventListener("pointerdown", (event) => {
      overlay.setPointerCapture(event.pointerId);
      this.#begin(this.#place(event));
    });
    overlay.addEventListener("pointermove", (event) => {
      this.#point = this.#place(event);
      if (overlay.hasPointerCapture(event.pointerId)) this.#move();
      this.#draw();
    });
    const end = () => this.#end();
    overlay.addEventListener("pointerup", end);
    overlay.addEventListener("pointercancel", end);
    overlay.addEventListener("keydown", (event) => this.#press(event));
  }

  #place(event) {
    const { left, top, width, height } = this.#overlay.getBoundingClientRect();
    return [within((event.clientX - left) / width), within((event.clientY - top) / height)];
  }

  #begin(point) {
    this.#point = point;
    if (this.#tool === "region") {
      this.#drag = point;
      return;
    }
    const { strokes } = this.#page.state;
    if (strokes.length >= MOST_STROKES) {
      this.#page.say(`At most ${MOST_STROKES} strokes: undo some first.`, "problem");
      return;
    }
    this.#stroke = { ...this.#options.brush(), points: [point] };
    this.#page.state.set({ strokes: [...strokes, this.#stroke] }, "paint");
  }

  #move() {
    if (this.#drag) this.#options.region = rectangle(this.#drag, this.#point, this.#page.scene().models);
    if (!this.#stroke) return;
    const last = this.#stroke.points.at(-1);
    const far = Math.hypot(this.#point[0] - last[0], this.#point[1] - last[1]) >= STRIDE;
    if (!far || this.#stroke.points.length >= MOST_POINTS) return;
    this.#stroke = { ...this.#stroke, points: [...this.#stroke.points, this.#point] };
    this.#page.state.set({ strokes: [...this.#page.state.strokes.slice(0, -1), this.#stroke] }, "paint");
  }

  #end() {
    this.#drag = this.#stroke = null;
    this.#draw();
  }

  #press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in ARROWS) {
      event.preventDefault();
      this.#point = this.#point.map((value, axis) => within(value + STRIDE * ARROWS[event.key][axis]));
      this.#move();
      this.#draw();
    } else if (event.key === " ") {
      event.preventDefault();
      const ends = this.#tool === "paint" || this.#drag;
      if (!this.#drag) this.#begin(this.#point);
      this.#move();
      if (ends) this.#end();
      this.#draw();
    } else if (event.key === "Escape") {
      this.#choose("look");
      this.#buttons.get("look").focus();
    }
  }

  #draw() {
    const { width, height } = this.#overlay;
    const context = this.#overlay.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (this.#tool === "paint") {
      const { radius } = this.#options.brush();
      ring(context, this.#point[0] * width, this.#point[1] * height, radius * Math.max(width, height));
    }
    if (this.#tool === "region") ring(context, this.#point[0] * width, this.#point[1] * height, 8);
    if (this.#tool === "region" && this.#options.region) {
      const [x, y, w, h] = this.#options.region.map((value) => (value * width) / this.#page.scene().models[0].size[0]);
      context.fillStyle = "rgb(0 0 0 / 45%)";
      context.beginPath();
      context.rect(0, 0, width, height);
      context.rect(x, y, w, h);
      context.fill("evenodd");
      context.lineWidth = 3;
      context.strokeStyle = "white";
      context.strokeRect(x, y, w, h);
    }
  }
}

/** Return a share of the image, between its edges. */
function within(share) {
  return Math.round(POINTS * Math.min(Math.max(share, 0), 1)) / POINTS;
}

function ring(context, x, y, radius) {
  for (const [color, width] of [["rgb(0 0 0 / 60%)", 5], ["white", 2.5]]) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke();
  }
}

/** Return [x, y, width, height] in pixels, whole cells of every model, at least one. */
function rectangle(first, last, models) {
  const [width, height] = models[0].size;
  const stride = Math.max(...models.map((model) => model.latent.stride)); // strides are powers of two
  const cells = [width / stride, height / stride];
  const [x0, y0] = [0, 1].map((axis) => Math.min(Math.floor(Math.min(first[axis], last[axis]) * cells[axis]), cells[axis] - 1));
  const [x1, y1] = [0, 1].map((axis) => Math.min(Math.floor(Math.max(first[axis], last[axis]) * cells[axis]) + 1, cells[axis]));
  return [x0, y0, x1 - x0, y1 - y0].map((value) => value * stride);
}

function optionsOf(page, changed) {
  const direction = make("select", { id: "brush-direction" });
  const amount = slider("brush-amount", -4, 4, 0.25, 2, (value) => `${signed(value)} steps`);
  const radius = slider("brush-radius", 0.02, 0.5, 0.01, 0.12, (value) => `${Math.round(100 * value)} %`);
  radius.input.addEventListener("input", changed);
  const undo = button("Undo stroke", () => page.state.set({ strokes: page.state.strokes.slice(0, -1) }, "paint"));
  const clear = button("Remove all", () => page.state.set({ strokes: [] }, "paint"));
  const paint = make(
    "div",
    { className: "brush" },
    labeled("Along", direction),
    labeled("Amount", amount.input, amount.output),
    labeled("Radius", radius.input, radius.output),
    make("div", { className: "buttons" }, undo, clear),
  );
  const told = make("span", { className: "help" });
  const search = button("Search in this region", () => page.search(options.region));
  search.classList.add("primary");
  const whole = button("Whole image", () => {
    options.region = null;
    page.search(null);
  });
  const region = make("div", { className: "buttons" }, told, search, whole);
  let rectangleShown = null;
  let shown = null; // the plan whose region was taken over
  const options = {
    get region() {
      return rectangleShown;
    },
    set region(value) {
      rectangleShown = value;
      tell();
      changed();
    },
    brush: () => ({
      direction: Number(direction.value) || 0,
      amount: amount.input.valueAsNumber,
      radius: radius.input.valueAsNumber,
    }),
    show(tool) {
      find("tool-options").replaceChildren(...(tool === "look" ? [] : [tool === "paint" ? paint : region]));
      tell();
    },
    take({ fits: [fit] }) {
      const labels = fit?.directions.map((one) => one.label) ?? [];
      const chosen = direction.value || 0;
      direction.replaceChildren(...labels.map((label, k) => make("option", { value: k, textContent: label })));
      if (Number(chosen) < labels.length) direction.value = chosen;
      const plan = fit && JSON.stringify(fit.plan);
      if (plan && plan !== shown) options.region = fit.plan.region; // one drawn since then stays
      shown = plan;
    },
  };
  const tell = () => {
    search.disabled = !rectangleShown;
    told.textContent = rectangleShown
      ? `${rectangleShown[2]} × ${rectangleShown[3]} pixels from ${rectangleShown[0]}, ${rectangleShown[1]}`
      : "Drag a rectangle on the image.";
  };
  const enable = () => {
    undo.disabled = clear.disabled = !page.state.strokes.length;
  };
  page.state.listen(enable);
  enable();
  return options;
}

function slider(id, min, max, step, value, words) {
  const input = make("input", { type: "range", id, min, max, step, value });
  const output = make("output", { htmlFor: id });
  const show = () => {
    output.textContent = words(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.textContent);
    input.style.setProperty("--from", 0);
    input.style.setProperty("--to", (input.valueAsNumber - min) / (max - min));
  };
  input.addEventListener("input", show);
  show();
  return { input, output };
}

function labeled(text, input, ...more) {
  return make("div", { className: "field" }, make("label", { htmlFor: input.id, textContent: text }), input, ...more);
}

function button(text, clicked) {
  const element = make("button", { type: "button", textContent: text });
  element.addEventListener("click", clicked);
  return element;
}
