/** The pad: two latents under one finger, or under the arrow keys. */

import { make } from "./controls.js";
import { latentName, latentTitle, shown } from "./words.js";

const STRIDE = 40; // how many arrow presses from end to end
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const find = (id) => document.getElementById(id);

/** Set the pad up and keep it in step. */
export function buildPlane(state) {
  const pad = find("pad");
  buildAxes(state);
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    follow(event, pad, state);
  });
  pad.addEventListener("pointermove", (event) => {
    if (pad.hasPointerCapture(event.pointerId)) follow(event, pad, state);
  });
  pad.addEventListener("keydown", (event) => step(event, state));
  const show = () => showPoint(pad, state);
  state.listen(show);
  show();
}

function buildAxes(state) {
  const selects = [find("pad-across"), find("pad-up")];
  selects.forEach((select, axis) => {
    state.model.rest.forEach((_, latent) => {
      const textContent = latentTitle(state.model, latent);
      select.append(make("option", { value: latent, textContent }));
    });
    select.addEventListener("change", () => {
      const chosen = Number(select.value);
      const other = state.plane[1 - axis];
      // The same latent twice would be a line: the axes trade places instead.
      const free = chosen === other ? state.plane[axis] : other;
      state.set({ plane: axis === 0 ? [chosen, free] : [free, chosen] });
    });
  });
}

function follow(event, pad, state) {
  const { left, top, width, height } = pad.getBoundingClientRect();
  const shares = [(event.clientX - left) / width, 1 - (event.clientY - top) / height];
  moveTo(shares, state);
}

function step(event, state) {
  // With Alt and the like, arrows belong to the browser.
  if (!(event.key in ARROWS) || event.altKey || event.ctrlKey || event.metaKey) return;
  const [right, up] = ARROWS[event.key];
  event.preventDefault();
  const [x, y] = sharesOf(state);
  moveTo([x + right / STRIDE, y + up / STRIDE], state);
}

function moveTo(shares, state) {
  const z = [...state.z];
  state.plane.forEach((latent, axis) => {
    const [low, high] = state.model.ranges[latent];
    z[latent] = low + (high - low) * shares[axis];
  });
  state.set({ z }, "pad");
}

function sharesOf(state) {
  return state.plane.map((latent) => {
    const [low, high] = state.model.ranges[latent];
    return (state.z[latent] - low) / (high - low);
  });
}

function showPoint(pad, state) {
  const [x, y] = sharesOf(state);
  const [across, up] = state.plane;
  find("pad-point").style.left = `${100 * x}%`;
  find("pad-point").style.top = `${100 * (1 - y)}%`;
  find("pad-across").value = across;
  find("pad-up").value = up;
  pad.setAttribute(
    "aria-label",
    `${latentName(across)} across ${shown(state.z[across])}, ` +
      `${latentName(up)} up ${shown(state.z[up])}`,
  );
}
