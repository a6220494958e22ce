/** Labels, sliders and the strip: what one sets, kept in step with the state. */

import { slantInWords } from "./drawing.js";
import { stripValues } from "./painter.js";
import { latentEnds, latentName, latentTitle, shown } from "./words.js";

const STEP = 0.01;

const find = (id) => document.getElementById(id);

/** Make an element with properties and children. */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Build the tiles of the labels; return their canvases. */
export function buildLabels(state) {
  const { labels, sees_label: seesLabel } = state.model;
  find("labels").hidden = !seesLabel;
  const canvases = labels.map((label) => {
    const canvas = make("canvas");
    canvas.setAttribute("aria-hidden", "true");
    const input = make("input", { type: "radio", name: "digit", value: label });
    input.addEventListener("change", () => state.set({ label }));
    const name = make("span", { textContent: label });
    find("label-tiles").append(make("label", { className: "tile" }, input, canvas, name));
    return canvas;
  });
  const show = () => {
    for (const input of document.getElementsByName("digit")) {
      input.checked = Number(input.value) === state.label;
    }
  };
  state.listen(show);
  show();
  return canvases;
}

/** Set a slider up for a latent and keep it in step. */
function bind(input, output, state, latent) {
  const [low, high] = state.model.ranges[latent];
  Object.assign(input, { min: low, max: high, step: STEP });
  input.setAttribute("aria-label", latentTitle(state.model, latent));
  input.addEventListener("input", () => state.move(latent, input.valueAsNumber));
  const show = () => {
    const value = state.z[latent];
    if (input.valueAsNumber !== value) input.value = value;
    output.textContent = shown(value);
    input.style.setProperty("--share", (value - low) / (high - low));
  };
  state.listen(show);
  show();
}

/** Set up the large slider. */
export function buildHero(state) {
  const { hero, model } = state;
  const [low, high] = latentEnds(model, hero);
  find("hero-low").textContent = low;
  find("hero-high").textContent = high;
  find("hero-name").textContent = latentName(hero);
  bind(find("hero"), find("hero-value"), state, hero);
}

/** Build a small slider for every other latent. */
export function buildSliders(state) {
  const { hero, model } = state;
  model.rest.forEach((_, latent) => {
    if (latent === hero) return;
    const input = make("input", { type: "range", id: `latent-${latent}` });
    const name = make("label", { htmlFor: input.id, textContent: latentName(latent) });
    const output = make("output", { htmlFor: input.id });
    const ends = latentEnds(model, latent).map((end) => make("span", { textContent: end }));
    if (!model.effects[latent]) ends[0].textContent = "hardly does anything";
    const below = make("div", { className: "ends" }, ...ends);
    below.setAttribute("aria-hidden", "true");
    find("sliders").append(make("div", { className: "row" }, name, input, output, below));
    bind(input, output, state, latent);
  });
}

/** Build the strip; return its canvases. */
export function buildStrip(state) {
  const { hero, model } = state;
  const values = stripValues(model, hero);
  const canvases = values.map((value) => {
    const canvas = make("canvas", { title: `${latentName(hero)} = ${shown(value)}` });
    canvas.addEventListener("click", () => state.move(hero, value));
    find("strip").append(canvas);
    return canvas;
  });
  const show = () => {
    const distances = values.map((value) => Math.abs(value - state.z[hero]));
    const nearest = distances.indexOf(Math.min(...distances));
    canvases.forEach((canvas, index) => canvas.classList.toggle("here", index === nearest));
    find("strip").setAttribute(
      "aria-label",
      `The digit at ${values.length} values of ${latentName(hero)}, from ${shown(values[0])} ` +
        `to ${shown(values.at(-1))}`,
    );
  };
  state.listen(show);
  show();
  return canvases;
}

/** Say what the drawn digit is and how it leans, in sight and for screen readers. */
export function tellDigit(state, degrees) {
  const words = slantInWords(degrees);
  find("slant").textContent = words;
  const digit = state.model.sees_label ? `The digit ${state.label}` : "The decoded digit";
  find("digit").setAttribute("aria-label", `${digit}, ${words}`);
  find("hero").setAttribute("aria-valuetext", `${shown(state.z[state.hero])}, ${words}`);
}
