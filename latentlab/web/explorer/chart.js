/** Curves over k on linear or logarithmic axes, as SVG, with a readout under pointer and keys. */

import { make } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const SIZES = { wide: { width: 640, height: 300 }, narrow: { width: 360, height: 240 } };
const MARGIN = { left: 52, right: 14, top: 10, bottom: 38 };

/** Where a chart has less room, so that its words stay as large; what it says may change. */
export const isNarrow = matchMedia("(max-width: 44rem)");

/**
 * Return a chart as an element.
 *
 * @param {object} what
 * @param {number[]} what.k places on the horizontal axis, ascending, from 1
 * @param {{name: string, values: number[], ends?: number[][] | null, kind: string}[]} what.series
 *   the first is the one in question; kind is the class of its color
 * @param {{x: "log" | "linear", y: "log" | "linear"}} what.scales
 * @param {(value: number) => string} what.format of the vertical axis
 * @param {string} what.label for screen readers
 * @param {string} what.xLabel
 * @param {number} [what.top] the largest value of the vertical axis
 * @param {{value: number, label: string} | null} [what.line] a horizontal line
 */
export function drawChart(what) {
  const scales = scalesOf(what);
  const svg = element("svg", {
    viewBox: `0 0 ${scales.width} ${scales.height}`,
    class: "chart",
    tabindex: 0,
    role: "img",
    "aria-label": what.label,
  });
  drawAxes(svg, what, scales);
  what.series.toReversed().forEach((one) => drawSeries(svg, one, what.k, scales));
  if (what.line) drawLine(svg, what.line, scales);
  const cursor = element("line", { class: "cursor", y1: MARGIN.top, y2: scales.height - MARGIN.bottom, visibility: "hidden" });
  svg.append(cursor);
  const readout = make("p", { className: "readout", role: "status" });
  followPointer(svg, cursor, readout, what, scales);
  return make("div", {}, svg, legendOf(what), readout);
}

function scalesOf({ k, series, scales, top }) {
  const { width, height } = SIZES[isNarrow.matches ? "narrow" : "wide"];
  const all = series.flatMap((one) => [...one.values, ...(one.ends ?? []).flat()]);
  const positive = all.filter((value) => value > 0);
  // Rounding errors at the end of a spectrum would squeeze all the rest.
  const floor = Math.max(Math.min(...positive), Math.max(...positive) * 1e-6);
  const y =
    scales.y === "log"
      ? logarithmic(floor * 0.8, Math.max(...positive) * 1.25, height - MARGIN.bottom, MARGIN.top)
      : linear(0, top ?? Math.max(...all) * 1.05, height - MARGIN.bottom, MARGIN.top);
  const last = Math.max(k.at(-1), 2);
  const range = [MARGIN.left, width - MARGIN.right];
  const x = scales.x === "log" ? logarithmic(1, last, ...range) : linear(0, last, ...range);
  return { x, y, width, height };
}

function linear(low, high, from, to) {
  const place = (value) => from + ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (to - from);
  const step = niceStep((high - low) / 5);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high * 1.0001; value += step) ticks.push(value);
  return { place, ticks };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
}

function logarithmic(low, high, from, to) {
  const [bottom, top] = [Math.log10(low), Math.log10(high)];
  const place = (value) => {
    const share = (Math.log10(Math.max(value, low)) - bottom) / (top - bottom || 1);
    return from + Math.min(share, 1) * (to - from);
  };
  const ticks = [];
  const wide = top - bottom > 2.5;
  for (let power = Math.floor(bottom); power <= Math.ceil(top); power++) {
    for (const factor of wide ? [1] : [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  }
  return { place, ticks };
}

function drawAxes(svg, { format, xLabel }, { x, y, width, height }) {
  const bottom = height - MARGIN.bottom;
  for (const value of y.ticks) {
    const at = y.place(value);
    svg.append(element("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }));
    svg.append(text(format(value), { class: "tick", x: MARGIN.left - 6, y: at + 4, "text-anchor": "end" }));
  }
  for (const value of x.ticks) {
    svg.append(text(String(Math.round(value)), { class: "tick", x: x.place(value), y: bottom + 16, "text-anchor": "middle" }));
  }
  svg.append(text(xLabel, { class: "axis", x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 4, "text-anchor": "middle" }));
}

function drawSeries(svg, { values, ends, kind }, k, { x, y }) {
  const points = (list) =>
    list.map((value, index) => `${x.place(k[index]).toFixed(1)},${y.place(value).toFixed(1)}`);
  if (ends) {
    const [low, high] = ends;
    const around = [...points(high), ...points(low).toReversed()];
    svg.append(element("polygon", { class: `band ${kind}`, points: around.join(" ") }));
  }
  const dashed = ends || kind === "own" ? "" : "dashed";
  svg.append(element("polyline", { class: `curve ${kind} ${dashed}`, points: points(values).join(" ") }));
  if (values.length === 1) {
    svg.append(element("circle", { class: `dot ${kind}`, cx: x.place(k[0]), cy: y.place(values[0]), r: 3 }));
  }
}

function drawLine(svg, { value }, { y, width }) {
  const at = y.place(value);
  svg.append(element("line", { class: "threshold", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }));
}

function legendOf({ series, line }) {
  const entry = (kind, name) =>
    make("li", {}, make("span", { className: `key ${kind}` }), make("span", { textContent: name }));
  const entries = series.map(({ kind, name }) => entry(kind, name));
  if (line) entries.push(entry("line", line.label));
  return make("ul", { className: "legend" }, ...entries);
}

function followPointer(svg, cursor, readout, what, { x, width }) {
  const { k, series, format } = what;
  let at = -1;
  const show = (index) => {
    at = Math.min(Math.max(index, 0), k.length - 1);
    cursor.setAttribute("x1", x.place(k[at]));
    cursor.setAttribute("x2", x.place(k[at]));
    cursor.setAttribute("visibility", "visible");
    const values = series
      .filter((one) => at < one.values.length)
      .map((one) => `${one.name} ${format(one.values[at], true)}`);
    readout.textContent = `k = ${k[at]}: ${values.join(", ")}`;
  };
  const hide = () => {
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = "";
    at = -1;
  };
  svg.addEventListener("pointermove", (event) => {
    const shown = svg.getBoundingClientRect();
    const place = ((event.clientX - shown.left) / shown.width) * width;
    const distances = k.map((value) => Math.abs(x.place(value) - place));
    show(distances.indexOf(Math.min(...distances)));
  });
  svg.addEventListener("pointerleave", () => {
    if (document.activeElement !== svg) hide();
  });
  svg.addEventListener("focus", () => show(Math.max(at, 0)));
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: k.length - 1 };
    if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    show(moves[event.key]);
  });
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function text(content, attributes) {
  const made = element("text", attributes);
  made.textContent = content;
  return made;
}
