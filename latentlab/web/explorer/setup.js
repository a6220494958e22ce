/** Neighborhood and finder with their settings, and the long work of searching again. */

import { capital, field, find, make } from "./dom.js";

const WITHOUT_OTHER = "needs a second image: choose one to blend with under “Another image”";

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
    form.offer(Boolean(scene.other));
    if (fit) form.show(fit.plan);
    if (fit?.complete) showProgress(null);
  };
  return { take, search: form.search };
}

function buildForm({ engine, say }) {
  const element = find("setup");
  element.closest("section").hidden = !engine.can.fit;
  const { neighborhoods, finders } = engine.choices;
  const neighborhood = buildChoice("neighborhood", neighborhoods);
  const finder = buildChoice("finder", finders);
  const samples = make("input", { type: "number", id: "samples", min: 2, max: 4096, placeholder: "auto" });
  const seed = make("input", { type: "number", id: "seed", min: 0, value: 0 });
  const region = make("p", { className: "help" });
  const settings = buildSettings();
  let rectangle = null;
  const describe = () => {
    settings.offer([...neighborhood.settings, ...finder.settings]);
    region.textContent = rectangle
      ? `In the region of ${rectangle[2]} × ${rectangle[3]} pixels from ${rectangle[0]}, ${rectangle[1]}.`
      : "";
  };
  for (const { select } of [neighborhood, finder]) select.addEventListener("change", describe);
  element.append(
    field("Neighborhood", neighborhood.select),
    ...neighborhood.told,
    field("Finder", finder.select),
    ...finder.told,
    settings.element,
    field("Samples", samples),
    field("Seed", seed),
    region,
    make("div", { className: "buttons" }, make("button", { type: "submit", className: "primary", textContent: "Search again" })),
  );
  const search = (inside = rectangle) => {
    if (!element.reportValidity()) return; // also for the button on the image
    rectangle = inside;
    describe();
    say("Searching…");
    engine.fit({
      neighborhood: neighborhood.select.value,
      finder: finder.select.value,
      n_samples: samples.value ? samples.valueAsNumber : null,
      region: rectangle,
      seed: seed.valueAsNumber || 0,
      settings: settings.values(),
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
    neighborhood.choose(plan.neighborhood);
    finder.choose(plan.finder);
    samples.value = plan.n_samples ?? "";
    seed.value = plan.seed;
    rectangle = plan.region;
    describe();
    settings.fill(plan.settings);
    say(`Directions found in the neighborhood ${plan.neighborhood}`);
  };
  const offer = (other) => finder.enable((one) => (one.blend && !other ? WITHOUT_OTHER : one.why));
  offer(false);
  neighborhood.enable((one) => one.why);
  describe();
  return { show, search, offer };
}

/** Build a list to choose from, with what is said of the choice, and of those that are not there. */
function buildChoice(id, choices) {
  const options = choices.map(({ name }) => make("option", { value: name, textContent: name }));
  const about = make("p", { className: "help", id: `${id}-about` });
  const missing = make("p", { className: "help", id: `${id}-missing` });
  const select = make("select", { id, "aria-describedby": `${about.id} ${missing.id}` }, ...options);
  const current = () => choices.find((one) => one.name === select.value);
  const tell = () => {
    about.textContent = current()?.about ?? "";
  };
  select.addEventListener("change", tell);
  return {
    select,
    told: [about, missing],
    get settings() {
      return current()?.settings ?? [];
    },
    choose(name) {
      select.value = name;
      tell();
    },
    /** @param {(choice: object) => string} why a choice is not there; empty if it is */
    enable(why) {
      const reasons = choices.map(why);
      options.forEach((option, k) => {
        option.disabled = Boolean(reasons[k]);
      });
      const lines = choices.flatMap(({ name }, k) => (reasons[k] ? [`${name} ${reasons[k]}.`] : []));
      missing.textContent = lines.join(" ");
      tell();
    },
  };
}

/** Build the fields of settings that are numbers; empty ones have their defaults. */
function buildSettings() {
  const list = make("div", {});
  const element = make("details", { className: "settings", hidden: true }, make("summary", { textContent: "Settings" }), list);
  let names = "";
  const inputs = () => [...list.querySelectorAll("input")];
  const values = () =>
    Object.fromEntries(inputs().flatMap(({ name, value, valueAsNumber }) => (value ? [[name, valueAsNumber]] : [])));
  const fill = (settings) => {
    for (const input of inputs()) input.value = settings[input.name] ?? "";
    if (Object.keys(settings).length) element.open = true;
  };
  return {
    element,
    values,
    fill,
    /** Show the fields of these; what was typed into fields of the same names stays. */
    offer(settings) {
      const now = settings.map(({ name }) => name).join();
      if (now === names) return;
      names = now;
      const kept = values();
      element.hidden = !settings.length;
      list.replaceChildren(...settings.map(settingOf));
      fill(kept);
    },
  };
}

function settingOf({ name, default: value }) {
  const how = { type: "number", id: `setting-${name}`, name, step: "any", placeholder: value };
  return field(name.replaceAll("_", " "), make("input", how));
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
