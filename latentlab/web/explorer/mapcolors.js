/** What the images of the map are colored by: a number of each, on a scale with its ends. */

import { find, make, plain } from "./dom.js";

const LEVELS = 64;
const ENDS = 0.02; // share of the images beyond each end of the scale
const STOPS = ["--scale-0", "--scale-1", "--scale-2", "--scale-3", "--scale-4"];

export class MapColors {
  #page;
  #changed;
  #select = find("map-color");
  #colors = null; // {label, values, …, low, high}
  #table = [];
  #none = "";

  /** @param {() => void} changed called when images have other colors */
  constructor(page, changed) {
    this.#page = page;
    this.#changed = changed;
    this.#select.addEventListener("change", () => this.#choose(this.#select.value));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readTable());
    this.#readTable();
  }

  /** Offer what a map can be colored by. */
  offer(colorings) {
    const groups = new Map();
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
    this.#colors = null;
    this.#show();
    if (name) {
      find("map-color-about").textContent = "Measuring…";
      try {
        const found = await this.#page.engine.color(name);
        if (this.#select.value !== name) return; // another one was chosen since
        this.#colors = { ...found, ...endsOf(found.values) };
      } catch (problem) {
        if (this.#select.value !== name) return;
        this.#select.value = "";
        find("map-color-about").textContent = `No colors: ${problem.detail ?? problem}`;
        this.#changed();
        return;
      }
    }
    this.#show();
    this.#changed();
  }

  #show() {
    const legend = find("map-legend");
    legend.hidden = !this.#colors;
    if (!this.#colors) {
      find("map-color-about").textContent = "";
      return;
    }
    const { about, low, high, threshold, values, label } = this.#colors;
    find("map-low").textContent = written(low);
    find("map-high").textContent = written(high);
    find("map-color-about").textContent = `${about} ${judged(values, threshold)}`;
    this.#page.say(`The map is colored by ${label}`);
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

function judged(values, threshold) {
  if (threshold === null) return "";
  const above = values.filter((value) => value > threshold).length;
  const count = above.toLocaleString("en-US");
  return `A finding above ${threshold}: ${count} of ${values.length.toLocaleString("en-US")} images.`;
}

function written(value) {
  if (Number.isNaN(value)) return "unknown";
  return value < 0 ? `−${plain(-value)}` : plain(value);
}

function rgbOf(color) {
  const value = parseInt(color.trim().slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
