/** The map on its canvas: a picture where there is room, a dot for every other image. */

const SMALLEST = 20; // pixels of a picture, or more where there are few
const FEW = 48;
const FILLED = 0.35; // of the map's side, if all pictures lay in rows
const LARGEST = 96;
const ENLARGED = 56; // of the chosen one, at least
const DOT = 2;
const COLORED_DOT = 4;

export class MapDrawing {
  /** Whether pictures are drawn, and not dots alone. */
  pictures = true;

  #canvas;
  #context;
  #view;
  #map = null;
  #sheets = [];
  #order = []; // in which images get a picture: always the same, and by chance
  #ratio = 1; // pixels of the canvas for one of the page
  #dots = null;

  constructor(canvas, view) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#view = view;
  }

  /** Return how many sheets of pictures have come. */
  get sheets() {
    return this.#sheets.length;
  }

  take(map) {
    this.#map = map;
    this.#order = shuffled(map.count);
  }

  addSheet(sheet) {
    this.#sheets.push(sheet);
  }

  resize() {
    const canvas = this.#canvas;
    const ratio = (this.#ratio = Math.min(devicePixelRatio || 1, 2));
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /** The side of a picture while the whole map is seen. */
  get #smallest() {
    const { clientWidth, clientHeight } = this.#canvas;
    const room = FILLED * Math.sqrt((clientWidth * clientHeight) / this.#map.count);
    return Math.min(Math.max(room, SMALLEST), FEW);
  }

  /**
   * Draw the map.
   *
   * @param {number} chosen the image to stand out with its neighbors, −1 for none
   * @param {((index: number) => string) | null} colorOf the color of an image, as #rrggbb
   */
  draw(chosen, colorOf) {
    const { clientWidth, clientHeight } = this.#canvas;
    const context = this.#context;
    context.clearRect(0, 0, clientWidth, clientHeight);
    if (!this.#map) return;
    const style = getComputedStyle(this.#canvas);
    const side = Math.min(this.#smallest * this.#view.zoom ** 0.45, LARGEST);
    const pictures = this.#drawDots(style.getPropertyValue("--quiet"), side, colorOf);
    context.imageSmoothingQuality = "low";
    for (let place = 0; place < pictures.length; place += 3) {
      const [index, x, y] = [pictures[place], pictures[place + 1], pictures[place + 2]];
      this.drawPicture(index, x - side / 2, y - side / 2, side);
      if (colorOf) this.#frame(x, y, side, colorOf(index));
    }
    if (chosen >= 0) this.#drawChosen(chosen, style.getPropertyValue("--accent"), side);
  }

  /** Draw a dot for each image without room for its picture; return the others: index, x, y. */
  #drawDots(color, side, colorOf) {
    const { places, count } = this.#map;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const { center, scale } = this.#view;
    const [left, top] = [width / 2 - center[0] * scale, height / 2 + center[1] * scale];
    // The cells stand still on the map, so that no picture flickers while it is moved.
    const [firstColumn, firstRow] = [Math.floor(-left / side) - 1, Math.floor(-top / side) - 1];
    const dots = this.#blankDots();
    const columns = Math.ceil(width / side) + 3;
    const taken = new Uint8Array(columns * (Math.ceil(height / side) + 3));
    const pictures = [];
    const known = this.pictures && this.#sheets.length > 0;
    const plain = inkOf(color, 140);
    const size = Math.round((colorOf ? COLORED_DOT : DOT) * (colorOf ? this.#ratio : 1));
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
        dot(dots, x * this.#ratio, y * this.#ratio, colorOf ? inkOf(colorOf(index), 230) : plain, size);
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

  drawPicture(index, x, y, side, context = this.#context) {
    const sheet = this.#sheetOf(index);
    if (!sheet) return;
    const own = this.#map.side;
    const place = index - sheet.first;
    const [row, column] = [Math.floor(place / this.#map.columns), place % this.#map.columns];
    context.drawImage(sheet.picture, own * column, own * row, own, own, x, y, side, side);
  }

  #frame(x, y, side, color) {
    this.#context.strokeStyle = color;
    this.#context.lineWidth = 3;
    this.#context.strokeRect(x - side / 2 + 1.5, y - side / 2 + 1.5, side - 3, side - 3);
  }

  #drawChosen(chosen, color, side) {
    const context = this.#context;
    const large = Math.max(side, ENLARGED);
    context.strokeStyle = color;
    context.lineWidth = 1.5;
    for (const other of neighborsOf(this.#map, chosen)) {
      const [x, y] = this.#placeOf(other);
      context.beginPath();
      context.arc(x, y, side * 0.75, 0, 2 * Math.PI);
      context.stroke();
    }
    const [x, y] = this.#placeOf(chosen);
    this.drawPicture(chosen, x - large / 2, y - large / 2, large);
    context.lineWidth = 3;
    context.strokeRect(x - large / 2, y - large / 2, large, large);
  }

  #placeOf(index) {
    const { places } = this.#map;
    return this.#view.toCanvas(places[2 * index], places[2 * index + 1]);
  }
}

/** Return the numbers of the images nearest to one, the nearest first. */
export function neighborsOf({ neighbors, nearest }, index) {
  return Array.from(nearest.subarray(index * neighbors, (index + 1) * neighbors));
}

function dot(pixels, x, y, ink, size) {
  const { width, height } = pixels;
  const data = (pixels.words ??= new Uint32Array(pixels.data.buffer));
  const [left, top] = [Math.round(x - size / 2), Math.round(y - size / 2)];
  if (left < 0 || top < 0 || left + size > width || top + size > height) return;
  for (let row = 0; row < size; row++) {
    const place = (top + row) * width + left;
    data.fill(ink, place, place + size);
  }
}

/** Return a color such as #a5a3a0 of some opacity, as a word of an image's pixels. */
function inkOf(color, opacity) {
  const value = parseInt(color.trim().slice(1), 16);
  return ((opacity << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

/** Return 0 to count − 1 in an order by chance that is always the same. */
export function shuffled(count) {
  const order = new Uint32Array(count).map((_, index) => index);
  let seed = 1;
  for (let index = count - 1; index > 0; index--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = seed % (index + 1);
    [order[index], order[other]] = [order[other], order[index]];
  }
  return order;
}
