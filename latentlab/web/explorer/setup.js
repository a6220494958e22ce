/** Neighborhood and finder, and the long work of searching again. */

import { find, make } from "./dom.js";

/** Build the form and the progress of long work; return what takes scenes. */
export function buildSetup(page) {
  const { engine } = page;
  const form = buildForm(page);
  engine.listen("progress", showProgress);
  find("cancel").addEventListener("click", () => engine.cancel());
  const take = (scene) => {
    const [fit] = scene.fits;
    if (fit) form.show(fit.plan);
    if (fit?.complete) showProgress(null);
  };
  return { take };
}

function buildForm({ engine, state, say }) {
  const element = find("setup");
  element.closest("section").hidden = !engine.can.fit;
  const neighborhood = selectOf("neighborhood", engine.choices.neighborhoods);
  const finder = selectOf("finder", engine.choices.finders);
  const samples = make("input", { type: "number", id: "samples", min: 2, max: 4096, placeholder: "auto" });
  const seed = make("input", { type: "number", id: "seed", min: 0, value: 0 });
  const about = make("p", { className: "help", id: "neighborhood-about" });
  const button = make("button", { type: "submit", className: "primary", textContent: "Search again" });
  const describe = () => {
    about.textContent = engine.choices.neighborhoods.find((one) => one.name === neighborhood.value)?.about ?? "";
  };
  neighborhood.addEventListener("change", describe);
  element.append(
    field("Neighborhood", neighborhood),
    about,
    field("Finder", finder),
    field("Samples", samples),
    field("Seed", seed),
    make("div", { className: "buttons" }, button),
  );
  const plan = () => ({
    neighborhood: neighborhood.value,
    finder: finder.value,
    n_samples: samples.value ? samples.valueAsNumber : null,
    region: element.region ?? null,
    seed: seed.valueAsNumber || 0,
  });
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    state.set({ alphas: [], strokes: [] }, "search");
    say("Searching…");
    engine.fit(plan());
  });
  const show = (given) => {
    neighborhood.value = given.neighborhood;
    finder.value = given.finder;
    samples.value = given.n_samples ?? "";
    seed.value = given.seed;
    describe();
  };
  return { show, plan };
}

function selectOf(id, choices) {
  const options = choices.map(({ name }) => make("option", { value: name, textContent: name }));
  return make("select", { id }, ...options);
}

function field(text, input) {
  return make("label", { className: "field", htmlFor: input.id }, make("span", { textContent: text }), input);
}

function showProgress(progress) {
  find("working").hidden = !progress;
  if (!progress) return;
  const { what, done, total } = progress;
  const bar = find("working-bar");
  find("working-what").textContent = total > 1 ? `${capital(what)}: ${done} of ${total}` : `${capital(what)}…`;
  if (total > 1) Object.assign(bar, { max: total, value: done });
  else bar.removeAttribute("value");
}

function capital(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}
