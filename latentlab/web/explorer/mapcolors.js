/** What the images of the map are colored by: a number of each, on a scale with its ends. */

import { find, make, plain, withCode } from "./dom.js";

const LEVELS = 64;
const ENDS = 0.02; // share of the images beyond each end of the scale
const MOST = 300; // images that are decoded at a time
const STOPS = ["--scale-0", "--scale-1", "--scale-2", "--scale-3", "--scale-4"];

export class MapColors {
  #page;
  #changed;
  #inView;
  #select = find("map-color");
  #offered = new Map(); // name → coloring
  #tried = new Set(); // numbers of images that were decoded, also those without a value
  #turn = 0; // counts choices, so that nothing older is shown
  #measuring = false;
  #stopped = false;
  #colors = null; // {label, values, …, low, high}
  #table = [];
  #none = "";

  /**
   * @param {object} map
   * @param {() => void} map.changed called when images have other colors
   * @param {() => number[]} map.inView returns the images in sight, in an order by chance
   */
  constructor(page, { changed, inView }) {
    this.#page = page;
    this.#changed = changed;
    this.#inView = inView;
    this.#select.addEventListener("change", () => this.#choose(this.#select.value));
    find("map-more").addEventListener("click", () => this.#measure(this.#select.value));
    find("map-stop").addEventListener("click", () => {
      this.#stopped = true;
      page.engine.cancel("colors");
    });
    find("cancel").addEventListener("click", () => {
      this.#stopped = true; // it ends all work
    });
    page.engine.listen("progress", (found) => {
      if (found?.errand !== "colors" || !found.total) return;
      Object.assign(find("map-bar"), { max: found.total, value: found.done });
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readTable());
    this.#readTable();
  }

  /** Offer what a map can be colored by. */
  offer(colorings) {
    const groups = new Map();
    this.#offered = new Map(colorings.map((one) => [one.name, one]));
    for (const { name, label, group } of colorings) {
      const option = make("option", { value: name, textContent: label });
      groups.set(group, [...(groups.get(group) ?? []), option]);
    }
    const made = [...groups].map(([label, options]) => make("optgroup", { label }, ...options));
    this.#select.replaceChildren(make("option", { value: "", textContent: "nothing" }), ...made);
    find("map-coloring").hidden = !colorings.length;
  }

  /** The color of an image, as a function of its number; null if images have none. */
  get colorOf() {
    if (!this.#colors) return null;
    const { values, low, high } = this.#colors;
    const factor = (LEVELS - 1) / (high - low || 1);
    return (index) => {
      const value = values[index];
      if (Number.isNaN(value)) return this.#none;
      return this.#table[Math.round(Math.min(Math.max((value - low) * factor, 0), LEVELS - 1))];
    };
  }

  /** Return the number of an image in words; empty if images have no color. */
  tell(index) {
    if (!this.#colors) return "";
    const { label, values } = this.#colors;
    return `, ${label} ${written(values[index])}`;
  }

  async #choose(name) {
    this.#turn++;
    this.#colors = null;
    if (!name && this.#measuring) this.#page.engine.cancel("colors");
    this.#measuring = false;
    this.#show();
    this.#changed();
    if (name) await this.#measure(name);
  }

  /** Measure what is not known; of a coloring that decodes, of images in sight. */
  async #measure(name) {
    const turn = ++this.#turn;
    const { decodes } = this.#offered.get(name);
    const unknown = (index) => !this.#colors || (Number.isNaN(this.#colors.values[index]) && !this.#tried.has(index));
    const numbers = decodes ? this.#inView().filter(unknown).slice(0, MOST) : [];
    const about = find("map-color-about");
    about.textContent = numbers.length ? `Decoding ${numbers.length} images in view…` : "Measuring…";
    find("map-work").hidden = !decodes;
    find("map-more").hidden = true;
    this.#keepFocus();
    this.#measuring = true;
    try {
      const found = await this.#ask(name, numbers, decodes);
      if (turn !== this.#turn) return; // another one was chosen since
      this.#colors = { ...found, ...endsOf(found.values) };
      this.#show();
    } catch (problem) {
      if (turn !== this.#turn) return;
      this.#colors = null;
      this.#select.value = "";
      this.#show();
      about.textContent = `No colors: ${problem.detail ?? problem}`;
    }
    this.#measuring = false;
    this.#changed();
  }

  /** Return what was measured; if the work was stopped, what was measured until then. */
  async #ask(name, numbers, decodes) {
    const { engine } = this.#page;
    this.#stopped = false;
    find("map-bar").removeAttribute("value");
    try {
      const found = await engine.color(name, numbers);
      numbers.forEach((number) => this.#tried.add(number));
      return found;
    } catch (problem) {
      if (!this.#stopped || !decodes) throw problem;
      return engine.color(name);
    }
  }

  #show() {
    find("map-legend").hidden = !this.#colors;
    find("map-work").hidden = true;
    find("map-more").hidden = !this.#colors?.decodes || this.#colors.measured >= this.#colors.values.length;
    this.#keepFocus();
    if (!this.#colors) {
      find("map-color-about").textContent = "";
      return;
    }
    const { about, low, high, label } = this.#colors;
    find("map-low").textContent = written(low);
    find("map-high").textContent = written(high);
    find("map-color-about").replaceChildren(...withCode(`${about} ${judged(this.#colors)}`));
    this.#page.say(`The map is colored by ${label}`);
  }

  /** Who pressed a button that is hidden now stays beside it. */
  #keepFocus() {
    if (document.activeElement?.closest("#map-coloring [hidden]")) this.#select.focus();
  }

  #readTable() {
    const style = getComputedStyle(document.documentElement);
    const stops = STOPS.map((name) => rgbOf(style.getPropertyValue(name)));
    this.#none = style.getPropertyValue("--line").trim();
    this.#table = Array.from({ length: LEVELS }, (_, level) => {
      const place = (level / (LEVELS - 1)) * (stops.length - 1);
      const low = Math.min(Math.floor(place), stops.length - 2);
      const mixed = stops[low].map((value, k) => Math.round(value + (place - low) * (stops[low + 1][k] - value)));
      return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
    });
    this.#changed();
  }
}

/** Return the ends of the scale: a few images beyond each do not stretch it. */
function endsOf(values) {
  const sorted = values.filter(Number.isFinite).sort();
  if (!sorted.length) return { low: 0, high: 0 };
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return { low: at(ENDS), high: at(1 - ENDS) };
}

/** Return how many images were measured, and how many of them have a finding. */
function judged({ values, measured, decodes, threshold, below }) {
  const count = (number) => number.toLocaleString("en-US");
  const part = decodes && measured < values.length;
  const some = part ? `Measured in ${count(measured)} of ${count(values.length)} images; the others have no color. ` : "";
  if (threshold === null) return some;
  const found = values.filter((value) => (below ? value < threshold : value > threshold)).length;
  return `${some}A finding ${below ? "below" : "above"} ${threshold}: ${count(found)} of ${count(measured)} images.`;
}

function written(value) {
  if (Number.isNaN(value)) return "unknown";
  return value < 0 ? `−${plain(-value)}` : plain(value);
}

function rgbOf(color) {
  const value = parseInt(color.trim().slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
