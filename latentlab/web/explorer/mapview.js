/** Which part of the map is in sight: its middle, and how close it is. */

const FIT = 0.92; // of the canvas, at first
const FARTHEST = 400; // times closer than at first
const NEARLY_ALL = 0.995; // of the places are in sight at first
const SMALLEST = 0.05; // extent that is enlarged to the canvas
const MARGIN = 30; // pixels from the edge within which a place counts as out of sight

export class MapView {
  center = [0, 0];
  zoom = 1;
  #canvas;
  #extent = [1, 1]; // how far places lie from the middle, across and up

  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** Pixels for one unit of the map. */
  get scale() {
    const { clientWidth, clientHeight } = this.#canvas;
    const [across, up] = this.#extent;
    return (FIT * this.zoom * Math.min(clientWidth / across, clientHeight / up)) / 2;
  }

  /** Fit places (x, y, …) into the canvas; a few far ones may lie outside. */
  fit(places) {
    this.#extent = [0, 1].map((axis) => {
      const sizes = places.filter((_, place) => place % 2 === axis).map(Math.abs).sort();
      return Math.max(sizes[Math.floor(NEARLY_ALL * (sizes.length - 1))] ?? 1, SMALLEST);
    });
  }

  /** Show all of it. */
  reset() {
    this.center = [0, 0];
    this.zoom = 1;
  }

  pan(x, y) {
    const { scale } = this;
    this.center = [this.center[0] - x / scale, this.center[1] + y / scale];
  }

  /** Move closer to a place of the canvas, by a factor. */
  zoomAt(factor, x, y) {
    const before = this.toMap(x, y);
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.5), FARTHEST);
    const after = this.toMap(x, y);
    this.center = this.center.map((value, axis) => value + before[axis] - after[axis]);
  }

  /** Return the place on the map of a place on the canvas. */
  toMap(x, y) {
    const { clientWidth, clientHeight } = this.#canvas;
    const { scale } = this;
    return [this.center[0] + (x - clientWidth / 2) / scale, this.center[1] - (y - clientHeight / 2) / scale];
  }

  /** Return the place on the canvas of a place on the map. */
  toCanvas(x, y) {
    const { clientWidth, clientHeight } = this.#canvas;
    const { scale } = this;
    return [clientWidth / 2 + (x - this.center[0]) * scale, clientHeight / 2 - (y - this.center[1]) * scale];
  }

  /** Move to a place unless it is well in sight. */
  reveal(x, y) {
    const { clientWidth, clientHeight } = this.#canvas;
    const [across, down] = this.toCanvas(x, y);
    const inside = (place, size) => place >= MARGIN && place <= size - MARGIN;
    if (!inside(across, clientWidth) || !inside(down, clientHeight)) this.center = [x, y];
  }
}
