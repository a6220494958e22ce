/** A map of many images: each at the place of its latent, as a picture where there is room. */

import { find, make, percent } from "./dom.js";
import { MapColors } from "./mapcolors.js";
import { MapDrawing, neighborsOf, shuffled } from "./mapdrawing.js";
import { followHands } from "./maphands.js";
import { MapView } from "./mapview.js";

const NEAR = 16; // pixels within which a point is meant
const THUMBNAIL = 56;
const NAMES = { tsne: "t-SNE", umap: "UMAP" };

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
  #view;
  #drawing;
  #colors;
  #map = null;
  #chosen = -1;
  #waiting = false;

  constructor(page, canvas) {
    this.#page = page;
    this.#canvas = canvas;
    this.#view = new MapView(canvas);
    this.#drawing = new MapDrawing(canvas, this.#view);
    this.#colors = new MapColors(page, {
      changed: () => {
        this.#tell();
        this.redraw();
      },
      inView: () => this.#inView(),
    });
    new ResizeObserver(() => {
      this.#drawing.resize();
      this.redraw();
    }).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    find("map-pictures").addEventListener("change", ({ target }) => {
      this.#drawing.pictures = target.checked;
      this.redraw();
    });
    followHands(canvas, this);
    this.#tell();
  }

  /** Return how many sheets of pictures have come. */
  get sheets() {
    return this.#drawing.sheets;
  }

  take(map) {
    this.#map = map;
    this.#view.fit(map.places);
    this.#drawing.take(map);
    this.#colors.offer(map.colorings);
    const out = map.left_out + map.other_shapes;
    const cut = out ? ` of ${(map.count + out).toLocaleString("en-US")}` : "";
    find("map-title").textContent = `Map of ${map.count.toLocaleString("en-US")}${cut} images`;
    find("map-about").textContent = aboutOf(map);
    this.#tell();
    this.redraw();
  }

  addSheet(sheet) {
    this.#drawing.addSheet(sheet);
    this.redraw();
  }

  redraw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#drawing.draw(this.#chosen, this.#colors.colorOf);
      this.drawn++;
    });
  }

  // What hands do

  pan(x, y) {
    this.#view.pan(x, y);
    this.redraw();
  }

  /** Move closer to a place of the canvas, by a factor. */
  zoomAt(factor, x = this.#canvas.clientWidth / 2, y = this.#canvas.clientHeight / 2) {
    this.#view.zoomAt(factor, x, y);
    this.redraw();
  }

  showAll() {
    this.#view.reset();
    this.redraw();
  }

  hover(x, y) {
    this.#choose(this.#nearest(x, y));
  }

  /** Explore the image at a place of the canvas, or the chosen one. */
  open(x, y) {
    if (x !== undefined) this.#choose(this.#nearest(x, y)); // a finger does not hover before
    if (this.#chosen < 0) return;
    this.#page.say(`Encoding ${this.#map.names[this.#chosen]}…`);
    this.#page.engine.pick(this.#chosen);
  }

  /** Choose the next image in a direction, and bring it into sight. */
  step([right, down]) {
    if (!this.#map) return;
    const { places, count } = this.#map;
    const [x, y] = this.#chosen < 0 ? this.#view.center : this.#placeOf(this.#chosen);
    let [best, least] = [-1, Infinity];
    for (let index = 0; index < count; index++) {
      if (index === this.#chosen) continue;
      const [dx, dy] = [places[2 * index] - x, y - places[2 * index + 1]];
      const [along, aside] = [dx * right + dy * down, Math.abs(dx * down) + Math.abs(dy * right)];
      const cost = along + 2 * aside;
      if (along > 0 && cost < least) [best, least] = [index, cost];
    }
    if (best < 0) return;
    this.#view.reveal(...this.#placeOf(best));
    this.#choose(best);
  }

  #placeOf(index) {
    const { places } = this.#map;
    return [places[2 * index], places[2 * index + 1]];
  }

  /** Return the numbers of the images that are in sight, in an order by chance that is always the same. */
  #inView() {
    const { places, count } = this.#map;
    const [left, top] = this.#view.toMap(0, 0);
    const [right, bottom] = this.#view.toMap(this.#canvas.clientWidth, this.#canvas.clientHeight);
    const isSeen = (x, y) => x >= left && x <= right && y <= top && y >= bottom;
    return [...shuffled(count)].filter((index) => isSeen(...this.#placeOf(index)));
  }

  /** Return the image at a place of the canvas, −1 if there is none. */
  #nearest(left, top) {
    if (!this.#map) return -1;
    const { places, count } = this.#map;
    const [x, y] = this.#view.toMap(left, top);
    let [best, least] = [-1, (NEAR / this.#view.scale) ** 2];
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
    find("map-readout").textContent = names[this.#chosen] + this.#colors.tell(this.#chosen);
    strip.replaceChildren(...neighborsOf(this.#map, this.#chosen).map((index) => this.#thumbnail(index)));
  }

  #thumbnail(index) {
    const title = this.#map.names[index];
    const how = { width: THUMBNAIL, height: THUMBNAIL, role: "img", "aria-label": `neighbor ${title}`, title };
    const canvas = make("canvas", how);
    this.#drawing.drawPicture(index, 0, 0, THUMBNAIL, canvas.getContext("2d"));
    return canvas;
  }
}

/** Return what the map shows, and what it does not. */
function aboutOf(map) {
  const { method, components, shares } = map;
  const whole = percent(shares.reduce((sum, share) => sum + share, 0));
  const placed =
    method === "pca"
      ? `Across and up: the first two principal components of the latents, ${shares.slice(0, 2).map(percent).join(" and ")} ` +
        "of the variance; what is near here may be far in the others."
      : `Placed by ${NAMES[method]} (${method === "tsne" ? "perplexity" : "neighbors"} ${Math.round(map.near)}, ` +
        `seed ${map.seed}) from the first ${components} principal components, ${whole} of the variance. What is near ` +
        "here is mostly near in these. How far groups are apart, how large and how dense they are shows nothing about " +
        "the latents; noise has groups, too, and another seed gives another map.";
  const parts = [placed, `Rings mark the nearest in the first ${components} components.`];
  if (map.left_out) {
    parts.push(`${map.count.toLocaleString("en-US")} images were drawn at random; the others have no place.`);
  }
  if (map.other_shapes) {
    parts.push(
      `Only latents of the commonest shape, ${map.shape.join(" × ")}, have a place here; ` +
        `${map.other_shapes.toLocaleString("en-US")} of other shapes are left out.`,
    );
  }
  if (map.previews) parts.push("Without --images, pictures are previews that a linear map makes of the latents.");
  return parts.join(" ");
}
