/** A slider for each direction, with what is known of it. */

import { find, make, percent, plain, short, signed } from "./dom.js";

const RANGE = 4; // steps to either side
const STEP = 0.05;

/** Build the sliders whenever a scene has other directions; return what takes scenes. */
export function buildSliders(page) {
  let rows = [];
  let shown = null; // the fit whose sliders these are
  const refresh = () => rows.forEach((row, k) => row.show(page.state.alphas[k] ?? 0));
  page.state.listen(refresh);
  const take = (scene) => {
    const [fit] = scene.fits;
    find("directions-about").textContent = fit ? aboutOf(scene) : "";
    find("directions-notes").textContent = fit ? fit.notes.join(" ") : "";
    find("directions-legend").hidden = !fit;
    if (!fit) {
      shown = null;
      rows = [];
      find("sliders").replaceChildren();
      return;
    }
    if (!shown || !sameDirections(shown, fit)) {
      rows = fit.directions.map((_, k) => buildRow(page, k, fit));
      find("sliders").replaceChildren(...rows.map((row) => row.element));
    }
    shown = fit;
    const scale = strengthScale(fit);
    rows.forEach((row, k) => row.tell(fit.directions[k], scale, scene));
    refresh();
  };
  return { take };
}

function sameDirections(before, after) {
  const steps = (fit) => fit.directions.map((one) => `${one.label} ${one.step}`).join();
  return steps(before) === steps(after);
}

function aboutOf(scene) {
  const [fit] = scene.fits;
  const reads = `Steps in ${fit.unit === "σ" ? "σ, standard deviations of the neighborhood" : fit.unit}. `;
  return `Searched: ${fit.about}. ${reads}Double-click a slider, or press 0, to reset it.`;
}

function buildRow(page, k, fit) {
  const id = `direction-${k}`;
  const input = make("input", {
    type: "range",
    id,
    min: -RANGE,
    max: RANGE,
    step: STEP,
    value: 0,
    "aria-describedby": `${id}-facts`,
  });
  const output = make("output", { htmlFor: id });
  const name = make("label", { htmlFor: id, className: "name" });
  const meaning = make("span", { className: "meaning" });
  const facts = make("div", { className: "row-facts", id: `${id}-facts` });
  const element = make(
    "div",
    { className: "row" },
    make("div", { className: "row-head" }, name, meaning, output),
    input,
    facts,
  );
  const reset = () => page.state.move(k, 0);
  input.addEventListener("input", () => page.state.move(k, input.valueAsNumber));
  input.addEventListener("dblclick", reset);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "0" || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    reset();
  });
  const show = (value) => {
    // A link may go beyond the slider's usual range.
    const range = Math.max(RANGE, Math.ceil(Math.abs(value)));
    if (Number(input.max) !== range) Object.assign(input, { min: -range, max: range });
    if (input.valueAsNumber !== value) input.value = value;
    output.textContent = `${signed(value)} ${fit.unit}`;
    input.setAttribute("aria-valuetext", `${signed(value)} ${fit.unit}`);
    const share = (value + range) / (2 * range);
    input.style.setProperty("--from", Math.min(share, 0.5));
    input.style.setProperty("--to", Math.max(share, 0.5));
    element.classList.toggle("moved", value !== 0);
  };
  const tell = (direction, scale, scene) => {
    name.textContent = direction.label;
    meaning.textContent = direction.meaning?.replaceAll(" %", "\u202f%") ?? (scene.fits[0].complete ? "" : "…");
    facts.replaceChildren(...factsOf(direction, scale, scene, k));
  };
  return { element, show, tell };
}

/** Return what is known of a direction: its share, how well it is found again, and its strength. */
function factsOf(direction, scale, scene, k) {
  const found = [
    fact(percent(direction.share), "of variance", "Its share of the neighborhood's variance"),
  ];
  if (direction.reliability !== null) {
    const chance = short(direction.random_reliability);
    found.push(
      fact(
        short(direction.reliability),
        `found again (chance ${chance})`,
        "Both halves of the samples are searched on their own: the cosine of what they find. 1 is the same " +
          `direction; as many random mixtures of each half's samples give ${chance} on average.`,
      ),
    );
  }
  if (scale && direction.strength !== null) found.push(strengthBar(direction, scale));
  const match = scene.match;
  if (match) {
    const other = scene.fits[1].directions[match.indices[k]];
    const sign = match.signs[k] < 0 ? "−" : "";
    found.push(
      fact(
        `${sign}${other.label}`,
        `in ${scene.models[1].name} (r ${short(match.correlations[k])})`,
        "The direction of the other model whose change of the image correlates most with this one",
      ),
    );
  }
  return found;
}

function fact(value, words, title) {
  return make("span", { className: "fact", title }, make("b", { textContent: value }), ` ${words}`);
}

/** Return the scale of all strengths: logarithmic, with the random level in it. */
function strengthScale(fit) {
  const random = fit.random_strength;
  const values = fit.directions.map((one) => one.strength).filter((value) => value > 0);
  if (!(random > 0) || !values.length) return null;
  const low = Math.log(Math.min(random, ...values) / 2);
  const high = Math.log(Math.max(random * 2, ...values));
  const place = (value) => Math.min(1, Math.max(0, (Math.log(value) - low) / (high - low)));
  return { random, place, name: fit.strength_name };
}

function strengthBar(direction, scale) {
  const times = direction.strength / scale.random;
  const text = `${plain(times)} × random`;
  const bar = make("span", {
    className: "bar",
    role: "img",
    "aria-label": `${scale.name}: ${text}`,
  });
  bar.style.setProperty("--share", direction.strength > 0 ? scale.place(direction.strength) : 0);
  bar.style.setProperty("--random", scale.place(scale.random));
  bar.title = `${scale.name}: ${plain(direction.strength)}; random directions ${plain(scale.random)} (the mark). Logarithmic.`;
  return make("span", { className: "fact strength" }, bar, make("b", { textContent: plain(times) }), " × random");
}
