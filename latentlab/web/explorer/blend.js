/** From one image to another: the straight line between their latents. */

import { drawBitmap, find, make } from "./dom.js";

/** Build the slider; return what takes scenes. */
export function buildBlend(page) {
  const input = make("input", { type: "range", id: "blend-slider", min: 0, max: 1, step: 0.01, value: 0 });
  const first = make("canvas", { role: "img" });
  const last = make("canvas", { role: "img" });
  const output = make("output", { htmlFor: input.id });
  const name = make("label", { htmlFor: input.id, textContent: "From one image to the other" });
  find("blend").append(
    make("div", { className: "row-head" }, name, output),
    make("div", { className: "blend-row" }, first, input, last),
  );
  input.addEventListener("input", () => page.state.set({ blend: input.valueAsNumber }));
  const show = () => {
    const { blend } = page.state;
    if (input.valueAsNumber !== blend) input.value = blend;
    output.textContent = `${Math.round(100 * blend)} %`;
    input.setAttribute("aria-valuetext", output.textContent);
    input.style.setProperty("--from", 0);
    input.style.setProperty("--to", blend);
  };
  page.state.listen(show);
  show();
  let picture = null;
  const take = (scene) => {
    find("blend").hidden = !scene.other;
    if (!scene.other || scene.other.picture === picture) return;
    picture = scene.other.picture;
    drawBitmap(first, scene.models[0].pictures.image);
    drawBitmap(last, picture);
    first.setAttribute("aria-label", scene.image.name);
    last.setAttribute("aria-label", scene.other.name);
    page.say(`Drag the slider to blend ${scene.image.name} with ${scene.other.name}`);
  };
  return { take };
}
