/** The link, the Python, and the file of a walk. */

import { field, find, make } from "./dom.js";
import { fromHash, toHash } from "./link.js";

const SETTLED = 300; // milliseconds without a change after which the address follows

/** Keep the address in step with the state, and set up the buttons; return what takes scenes. */
export function buildSharing(page) {
  const { engine, state, say } = page;
  let waiting = fromHash(location.hash); // what a link asks for and was not there yet
  let timer = 0;
  const hash = () => `#${toHash(page.scene(), state)}`;
  const write = () => {
    clearTimeout(timer);
    timer = setTimeout(() => waiting || keep(), SETTLED);
  };
  const keep = () => {
    history.replaceState(null, "", hash());
    engine.keep?.(location.hash);
  };
  state.listen(write);
  addEventListener("hashchange", () => {
    waiting = fromHash(location.hash);
    apply();
  });
  const apply = () => {
    const scene = page.scene();
    if (!waiting || !scene) return;
    if (waiting.image && !scene.image.sha256.startsWith(waiting.image)) {
      say("This link belongs to another image. Drop that image onto the page to see it.", "problem");
      waiting = null;
      return;
    }
    const [fit] = scene.fits;
    if (waiting.plan && engine.can.fit && !(fit && samePlan(fit.plan, waiting.plan))) {
      if (!waiting.asked) engine.fit(waiting.plan);
      waiting.asked = true;
      return;
    }
    if (!fit) return;
    const { state: asked, image } = waiting;
    waiting = null;
    // What a link does not name is at the start: it may be opened where something else is shown.
    if (Object.keys(asked).length || image) state.set({ alphas: [], strokes: [], blend: 0, ...asked }, "link");
    if (asked.blend && !scene.other) {
      say("This link blends with another image. Choose that image to see it: Blend with another.", "problem");
    }
  };
  const giveUp = () => {
    if (waiting?.asked) waiting = null; // its search failed or was canceled
  };
  engine.listen("problem", giveUp);
  find("cancel").addEventListener("click", giveUp);
  buildButtons(page, hash);
  const record = buildRecord(page);
  const take = (scene) => {
    apply();
    record.take(scene);
    write();
  };
  return { take };
}

function samePlan(one, other) {
  const key = (plan) =>
    [plan.neighborhood, plan.finder, plan.n_samples ?? "", plan.seed, plan.region ?? "", settingsOf(plan)].join();
  const settingsOf = ({ settings }) => JSON.stringify(Object.entries(settings ?? {}).sort());
  return key(one) === key(other);
}

function buildButtons({ engine, state, say }, hash) {
  find("link").addEventListener("click", async () => {
    history.replaceState(null, "", hash());
    say((await copied(location.href)) ? "Link copied" : "The link is in the address bar");
  });
  find("code").hidden = !engine.can.code;
  find("code").addEventListener("click", async () => {
    try {
      const code = await engine.code(state.shown);
      showCode(code);
      say((await copied(code)) ? "Python copied" : "The Python is below");
    } catch (problem) {
      say(problem.detail ?? String(problem), "problem");
    }
  });
}

function showCode(code) {
  find("code-text").textContent = code;
  find("code-shown").hidden = false;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function buildRecord(page) {
  const { engine, state, say } = page;
  const form = find("record");
  form.closest("section").hidden = !engine.can.record.length;
  const direction = make("select", { id: "record-direction" });
  const span = make("input", { type: "number", id: "record-span", min: 0.5, max: engine.limits.alpha, step: 0.5, value: 3, required: true });
  const steps = make("input", { type: "number", id: "record-steps", min: 2, max: 64, value: 16, required: true });
  const format = make(
    "select",
    { id: "record-format" },
    ...engine.can.record.map((name) => make("option", { value: name, textContent: name.toUpperCase() })),
  );
  const button = make("button", { type: "submit", textContent: "Record and download" });
  form.append(
    field("Along", direction),
    field("From − to +", span),
    field("Frames", steps),
    field("File", format),
    make("div", { className: "buttons" }, button),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    say("Recording…");
    try {
      const walk = {
        direction: Number(direction.value),
        span: span.valueAsNumber,
        steps: steps.valueAsNumber,
        format: format.value,
        state: state.shown,
      };
      const { name, blob } = await engine.record(walk);
      download(name, blob);
      say(`${name} downloaded`);
    } catch (problem) {
      say(problem.detail ?? String(problem), "problem");
    } finally {
      button.disabled = false;
    }
  });
  const take = ({ fits: [fit] }) => {
    const labels = fit?.directions.map((one) => one.label) ?? [];
    const chosen = direction.value;
    direction.replaceChildren(...labels.map((label, k) => make("option", { value: k, textContent: label })));
    if (Number(chosen) < labels.length) direction.value = chosen || 0;
    button.disabled = !fit;
  };
  return { take };
}

function download(name, blob) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
