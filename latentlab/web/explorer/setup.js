/** Neighborhood and finder, and the long work of searching again. */

import { capital, field, find, make } from "./dom.js";

/** Build the form and the progress of long work; return what takes scenes. */
export function buildSetup(page) {
  const form = buildForm(page);
  page.engine.listen("progress", showProgress);
  find("cancel").addEventListener("click", () => {
    page.engine.cancel();
    page.say("Canceled");
  });
  const take = (scene) => {
    const [fit] = scene.fits;
    if (fit) form.show(fit.plan);
    if (fit?.complete) showProgress(null);
  };
  return { take, search: form.search };
}

function buildForm({ engine, say }) {
  const element = find("setup");
  element.closest("section").hidden = !engine.can.fit;
  const { neighborhoods, finders } = engine.choices;
  const neighborhood = selectOf("neighborhood", neighborhoods);
  const finder = selectOf("finder", finders);
  const samples = make("input", { type: "number", id: "samples", min: 2, max: 4096, placeholder: "auto" });
  const seed = make("input", { type: "number", id: "seed", min: 0, value: 0 });
  const region = make("p", { className: "help" });
  const about = [neighborhood, finder].map(() => make("p", { className: "help" }));
  let rectangle = null;
  const describe = () => {
    about[0].textContent = aboutOf(neighborhoods, neighborhood.value);
    about[1].textContent = aboutOf(finders, finder.value);
    region.textContent = rectangle
      ? `In the region of ${rectangle[2]} × ${rectangle[3]} pixels from ${rectangle[0]}, ${rectangle[1]}.`
      : "";
  };
  neighborhood.addEventListener("change", describe);
  finder.addEventListener("change", describe);
  element.append(
    field("Neighborhood", neighborhood),
    about[0],
    field("Finder", finder),
    about[1],
    field("Samples", samples),
    field("Seed", seed),
    region,
    make("div", { className: "buttons" }, make("button", { type: "submit", className: "primary", textContent: "Search again" })),
  );
  const search = (inside = rectangle) => {
    rectangle = inside;
    describe();
    say("Searching…");
    engine.fit({
      neighborhood: neighborhood.value,
      finder: finder.value,
      n_samples: samples.value ? samples.valueAsNumber : null,
      region: rectangle,
      seed: seed.valueAsNumber || 0,
    });
  };
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  let shown = "";
  const show = (plan) => {
    if (JSON.stringify(plan) === shown) return; // what was chosen since then stays
    shown = JSON.stringify(plan);
    neighborhood.value = plan.neighborhood;
    finder.value = plan.finder;
    samples.value = plan.n_samples ?? "";
    seed.value = plan.seed;
    rectangle = plan.region;
    describe();
    say(`Directions found in the neighborhood ${plan.neighborhood}`);
  };
  return { show, search };
}

function aboutOf(choices, name) {
  return choices.find((one) => one.name === name)?.about ?? "";
}

function selectOf(id, choices) {
  const options = choices.map(({ name }) => make("option", { value: name, textContent: name }));
  return make("select", { id }, ...options);
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
