/** Pointers, fingers, wheel and keys on the map. */

import { find } from "./dom.js";

const CLOSER = 1.6;
const STILL = 3; // pixels that a click may move
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Let hands move a map.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {{pan, zoomAt, showAll, hover, open, step}} map hover and open take a place on the canvas;
 *   open without one means the chosen image
 */
export function followHands(canvas, map) {
  followPointers(canvas, map);
  canvas.addEventListener(
    "wheel",
    (event) => {
      // The wheel belongs to the page, unless the map has been clicked or a key says otherwise.
      if (!event.ctrlKey && document.activeElement !== canvas) return;
      event.preventDefault();
      map.zoomAt(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.offsetX, event.offsetY);
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => press(event, map));
  find("map-in").addEventListener("click", () => map.zoomAt(CLOSER));
  find("map-out").addEventListener("click", () => map.zoomAt(1 / CLOSER));
  find("map-fit").addEventListener("click", () => map.showAll());
}

function press(event, map) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const { key } = event;
  if (key in ARROWS) map.step(ARROWS[key]);
  else if (key === "Enter") map.open();
  else if (key === "+" || key === "=") map.zoomAt(CLOSER);
  else if (key === "-") map.zoomAt(1 / CLOSER);
  else if (key === "0") map.showAll();
  else return;
  event.preventDefault();
}

function followPointers(canvas, map) {
  const pressed = new Map(); // pointer → where it was
  let moved = false;
  const drag = (event) => {
    const here = [event.offsetX, event.offsetY];
    const before = pressed.get(event.pointerId);
    if (!before) {
      map.hover(...here);
      return;
    }
    const [x, y] = [here[0] - before[0], here[1] - before[1]];
    const other = [...pressed].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      map.zoomAt(apart(here) / apart(before), ...other);
    } else if (moved || Math.hypot(x, y) > STILL) {
      map.pan(x, y);
    } else return;
    moved = true;
    pressed.set(event.pointerId, here);
  };
  const end = (event) => {
    const was = pressed.delete(event.pointerId);
    if (event.type === "pointerup" && was && !moved) map.open(event.offsetX, event.offsetY);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!pressed.size) moved = false; // a second finger does not make a click of the first
    pressed.set(event.pointerId, [event.offsetX, event.offsetY]);
  });
  canvas.addEventListener("pointermove", drag);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
}
