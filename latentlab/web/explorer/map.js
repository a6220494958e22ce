/** A map of many images: each at the place of its latent, as a picture where there is room. */

import { find, make, percent } from "./dom.js";

const FIT = 0.92; // of the canvas, at first
const FARTHEST = 400; // times closer than at first
const SMALLEST = 20; // pixels of a picture
const LARGEST = 96;
const NEAR = 16; // pixels within which a point is meant
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Build the map, if there is one. */
export function buildMap(page) {
  if (!page.engine.can.map) return;
  find("map").hidden = false;
  const map = new StoreMap(page, find("map-canvas"));
  page.map = map;
  page.engine.listen("map", (found) => map.take(found));
  page.engine.listen("thumbnails", (sheet) => map.addSheet(sheet));
}

class StoreMap {
  /** Frames drawn so far, for measuring. */
  drawn = 0;

  #page;
  #canvas;
  #context;
  #map = null;
  #sheets = [];
  #order = []; // in which points get a picture: always the same, and by chance
  #center = [0, 0];
  #zoom = 1;
  #chosen = -1;
  #pointers = new Map();
  #moved = false;
  #waiting = false;
  #ratio = 1; // pixels of the canvas for one of the page
  #dots = null;

  constructor(page, canvas) {
    this.#page = page;
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.#listen();
    this.#tell();
  }

  /** Return how many sheets of pictures have come. */
  get sheets() {
    return this.#sheets.length;
  }

  take(map) {
    this.#map = map;
    this.#order = shuffled(map.count);
    const out = map.left_out + map.other_shapes;
    const cut = out ? ` of ${(map.count + out).toLocaleString("en-US")}` : "";
    find("map-title").textContent = `Map of ${map.count.toLocaleString("en-US")}${cut} images`;
    const shares = map.shares.map(percent).join(" and ");
    find("map-about").textContent =
      `Across and up: the first two principal components of the latents, ${shares} of the variance; ` +
      "what is near here may be far in the others. Rings mark the nearest in the first 16." +
      (map.other_shapes
        ? ` Only latents of the commonest shape, ${map.shape.join(" × ")}, have a place here; ` +
          `${map.other_shapes.toLocaleString("en-US")} of other shapes are left out.`
        : "") +
      (map.previews ? " Without --images, pictures are previews that a linear map makes of the latents." : "");
    this.#tell();
    this.redraw();
  }

  addSheet(sheet) {
    this.#sheets.push(sheet);
    this.redraw();
  }

  /** Move the map by pixels. */
  pan(x, y) {
    const scale = this.#scale();
    this.#center = [this.#center[0] - x / scale, this.#center[1] + y / scale];
    this.redraw();
  }

  /** Move closer to a place of the canvas, by a factor. */
  zoomAt(factor, x = this.#canvas.clientWidth / 2, y = this.#canvas.clientHeight / 2) {
    const before = this.#toMap(x, y);
    this.#zoom = Math.min(Math.max(this.#zoom * factor, 0.5), FARTHEST);
    const after = this.#toMap(x, y);
    this.#center = this.#center.map((value, axis) => value + before[axis] - after[axis]);
    this.redraw();
  }

  redraw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#draw();
      this.drawn++;
    });
  }

  #scale() {
    const { clientWidth, clientHeight } = this.#canvas;
    return (FIT * this.#zoom * Math.min(clientWidth, clientHeight)) / 2;
  }

  #toMap(x, y) {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = this.#scale();
    return [this.#center[0] + (x - clientWidth / 2) / scale, this.#center[1] - (y - clientHeight / 2) / scale];
  }

  #toCanvas(index) {
    const { clientWidth, clientHeight } = this.#canvas;
    const { places } = this.#map;
    const scale = this.#scale();
    return [
      clientWidth / 2 + (places[2 * index] - this.#center[0]) * scale,
      clientHeight / 2 - (places[2 * index + 1] - this.#center[1]) * scale,
    ];
  }

  #resize() {
    const ratio = (this.#ratio = Math.min(devicePixelRatio || 1, 2));
    this.#canvas.width = Math.round(this.#canvas.clientWidth * ratio);
    this.#canvas.height = Math.round(this.#canvas.clientHeight * ratio);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.redraw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const context = this.#context;
    context.clearRect(0, 0, width, height);
    if (!this.#map) return;
    const style = getComputedStyle(this.#canvas);
    const side = Math.min(SMALLEST * this.#zoom ** 0.45, LARGEST);
    const pictures = this.#drawDots(style.getPropertyValue("--quiet"), side, width, height);
    context.imageSmoothingQuality = "low";
    for (let place = 0; place < pictures.length; place += 3) {
      const [index, x, y] = [pictures[place], pictures[place + 1], pictures[place + 2]];
      this.#drawPicture(index, x - side / 2, y - side / 2, side);
    }
    if (this.#chosen >= 0) this.#drawChosen(style.getPropertyValue("--accent"), side);
  }

  /** Draw a dot for each image without room for its picture; return the others: index, x, y. */
  #drawDots(color, side, width, height) {
    const { places, count } = this.#map;
    const scale = this.#scale();
    const [left, top] = [width / 2 - this.#center[0] * scale, height / 2 + this.#center[1] * scale];
    // The cells stand still on the map, so that no picture flickers while it is moved.
    const [firstColumn, firstRow] = [Math.floor(-left / side) - 1, Math.floor(-top / side) - 1];
    const dots = this.#blankDots();
    const columns = Math.ceil(width / side) + 3;
    const taken = new Uint8Array(columns * (Math.ceil(height / side) + 3));
    const pictures = [];
    const known = this.#sheets.length > 0;
    const ink = inkOf(color);
    for (let turn = 0; turn < count; turn++) {
      const index = this.#order[turn];
      const [across, down] = [places[2 * index] * scale, -places[2 * index + 1] * scale];
      const [x, y] = [across + left, down + top];
      if (x < -side || y < -side || x > width + side || y > height + side) continue;
      const cell = (Math.floor(down / side) - firstRow) * columns + Math.floor(across / side) - firstColumn;
      if (known && !taken[cell] && this.#sheetOf(index)) {
        taken[cell] = 1;
        pictures.push(index, x, y);
      } else {
        dot(dots, x * this.#ratio, y * this.#ratio, ink);
      }
    }
    this.#context.putImageData(dots, 0, 0);
    return pictures;
  }

  /** Return transparent pixels for the whole canvas: much faster than a rectangle for each dot. */
  #blankDots() {
    const { width, height } = this.#canvas;
    if (this.#dots?.width !== width || this.#dots.height !== height) {
      this.#dots = new ImageData(Math.max(width, 1), Math.max(height, 1));
    } else {
      this.#dots.data.fill(0);
    }
    return this.#dots;
  }

  #sheetOf(index) {
    const each = this.#map.columns ** 2;
    const sheet = this.#sheets[Math.floor(index / each)];
    return sheet && index < sheet.first + sheet.count ? sheet : null;
  }

  #drawPicture(index, x, y, side, context = this.#context) {
    const sheet = this.#sheetOf(index);
    if (!sheet) return;
    const own = this.#map.side;
    const [row, column] = [Math.floor((index - sheet.first) / this.#map.columns), (index - sheet.first) % this.#map.columns];
    context.drawImage(sheet.picture, own * column, own * row, own, own, x, y, side, side);
  }

  #drawChosen(color, side) {
    const context = this.#context;
    const large = Math.max(side, 56);
    context.strokeStyle = color;
    context.lineWidth = 1.5;
    for (const other of this.#neighborsOf(this.#chosen)) {
      const [x, y] = this.#toCanvas(other);
      context.beginPath();
      context.arc(x, y, side * 0.75, 0, 2 * Math.PI);
      context.stroke();
    }
    const [x, y] = this.#toCanvas(this.#chosen);
    this.#drawPicture(this.#chosen, x - large / 2, y - large / 2, large);
    context.lineWidth = 3;
    context.strokeRect(x - large / 2, y - large / 2, large, large);
  }

  #neighborsOf(index) {
    const { neighbors, near } = this.#map;
    return Array.from(near.subarray(index * neighbors, (index + 1) * neighbors));
  }

  #listen() {
    const canvas = this.#canvas;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      this.#moved = false;
    });
    canvas.addEventListener("pointermove", (event) => this.#drag(event));
    const end = (event) => {
      const pressed = this.#pointers.delete(event.pointerId);
      if (event.type !== "pointerup" || !pressed || this.#moved) return;
      this.#choose(this.#nearest(event)); // a finger does not hover before
      this.#open();
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener(
      "wheel",
      (event) => {
        // The wheel belongs to the page, unless the map has been clicked or a key says otherwise.
        if (!event.ctrlKey && document.activeElement !== canvas) return;
        event.preventDefault();
        this.zoomAt(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.offsetX, event.offsetY);
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => this.#press(event));
    find("map-in").addEventListener("click", () => this.zoomAt(1.6));
    find("map-out").addEventListener("click", () => this.zoomAt(1 / 1.6));
    find("map-fit").addEventListener("click", () => this.#fit());
  }

  #fit() {
    this.#center = [0, 0];
    this.#zoom = 1;
    this.redraw();
  }

  #drag(event) {
    const here = [event.offsetX, event.offsetY];
    const before = this.#pointers.get(event.pointerId);
    if (!before) {
      this.#choose(this.#nearest(event));
      return;
    }
    const [x, y] = [here[0] - before[0], here[1] - before[1]];
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const [, other] = others[0];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      this.zoomAt(apart(here) / apart(before), other[0], other[1]);
    } else if (this.#moved || Math.hypot(x, y) > 3) {
      this.pan(x, y);
    } else return;
    this.#moved = true;
    this.#pointers.set(event.pointerId, here);
  }

  /** Return the image under the pointer, −1 if there is none. */
  #nearest({ offsetX, offsetY }) {
    if (!this.#map) return -1;
    const { places, count } = this.#map;
    const [x, y] = this.#toMap(offsetX, offsetY);
    let [best, least] = [-1, (NEAR / this.#scale()) ** 2];
    for (let index = 0; index < count; index++) {
      const square = (places[2 * index] - x) ** 2 + (places[2 * index + 1] - y) ** 2;
      if (square < least) [best, least] = [index, square];
    }
    return best;
  }

  #choose(index) {
    if (index === this.#chosen) return;
    this.#chosen = index;
    this.#tell();
    this.redraw();
  }

  /** Say which image is chosen, and show its neighbors. */
  #tell() {
    const strip = find("map-neighbors");
    if (!this.#map || this.#chosen < 0) {
      find("map-readout").textContent = this.#map
        ? "Point at an image to see its neighbors; click to explore it."
        : "Finding the place of every image…";
      strip.replaceChildren();
      return;
    }
    const { names } = this.#map;
    find("map-readout").textContent = names[this.#chosen];
    const canvases = this.#neighborsOf(this.#chosen).map((index) => {
      const canvas = make("canvas", { width: 56, height: 56, role: "img", "aria-label": `neighbor ${names[index]}`, title: names[index] });
      this.#drawPicture(index, 0, 0, 56, canvas.getContext("2d"));
      return canvas;
    });
    strip.replaceChildren(...canvases);
  }

  #open() {
    if (this.#chosen < 0) return;
    this.#page.say(`Encoding ${this.#map.names[this.#chosen]}…`);
    this.#page.engine.pick(this.#chosen);
  }

  #press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.#map) return;
    if (event.key in ARROWS) this.#step(ARROWS[event.key]);
    else if (event.key === "Enter") this.#open();
    else if (event.key === "+" || event.key === "=") this.zoomAt(1.6);
    else if (event.key === "-") this.zoomAt(1 / 1.6);
    else if (event.key === "0") this.#fit();
    else return;
    event.preventDefault();
  }

  /** Choose the next image in a direction, and bring it into sight. */
  #step([right, down]) {
    const { places, count } = this.#map;
    const [x, y] = this.#chosen < 0 ? this.#center : [places[2 * this.#chosen], places[2 * this.#chosen + 1]];
    let [best, least] = [-1, Infinity];
    for (let index = 0; index < count; index++) {
      if (index === this.#chosen) continue;
      const [dx, dy] = [places[2 * index] - x, y - places[2 * index + 1]];
      const [along, aside] = [dx * right + dy * down, Math.abs(dx * down) + Math.abs(dy * right)];
      const cost = along + 2 * aside;
      if (along > 0 && cost < least) [best, least] = [index, cost];
    }
    if (best < 0) return;
    this.#choose(best);
    const [px, py] = this.#toCanvas(best);
    const { clientWidth, clientHeight } = this.#canvas;
    if (px < 30 || py < 30 || px > clientWidth - 30 || py > clientHeight - 30) {
      this.#center = [places[2 * best], places[2 * best + 1]];
    }
  }
}

function dot(pixels, x, y, ink) {
  const { width, height } = pixels;
  const data = (pixels.words ??= new Uint32Array(pixels.data.buffer));
  const [left, top] = [Math.round(x) - 1, Math.round(y) - 1];
  if (left < 0 || top < 0 || left + 2 > width || top + 2 > height) return;
  const place = top * width + left;
  data[place] = data[place + 1] = data[place + width] = data[place + width + 1] = ink;
}

/** Return a color such as #a5a3a0, half transparent, as a word of an image's pixels. */
function inkOf(color) {
  const value = parseInt(color.trim().slice(1), 16);
  return ((140 << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

/** Return 0 to count − 1 in an order by chance that is always the same. */
function shuffled(count) {
  const order = new Uint32Array(count).map((_, index) => index);
  let seed = 1;
  for (let index = count - 1; index > 0; index--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = seed % (index + 1);
    [order[index], order[other]] = [order[other], order[index]];
  }
  return order;
}
