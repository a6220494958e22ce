/** The curve and the eigenvalues of a neighborhood, with those of null models. */

import { drawChart, isNarrow } from "./chart.js";
import { find, make, percent, plain, withCode } from "./dom.js";

const KINDS = { curve: "cumulative", spectrum: "eigenvalues" };
const COLORS = ["null-1", "null-2", "null-3", "null-4"];

/** Build the choice of charts; return what takes scenes. */
export function buildSpectrum() {
  let kind = "curve";
  let spectra = [];
  const buttons = Object.entries(KINDS).map(([name, words]) => {
    const button = make("button", { type: "button", textContent: words });
    button.addEventListener("click", () => {
      kind = name;
      draw();
    });
    return [name, button];
  });
  find("chart-kinds").append(...buttons.map(([, button]) => button));
  const draw = () => {
    buttons.forEach(([name, button]) => button.setAttribute("aria-pressed", String(name === kind)));
    const charts = find("chart");
    const read = [...charts.children].findIndex((one) => one.contains(document.activeElement));
    charts.replaceChildren(...spectra.map((one) => chartOf(kind, one)));
    if (read >= 0) charts.children[read]?.querySelector("svg").focus(); // who reads with keys stays there
  };
  isNarrow.addEventListener("change", draw);
  const take = ({ fits, models }) => {
    find("chart").closest("section").hidden = !fits.length;
    spectra = fits.map((fit, index) => ({ ...fit, model: fits.length > 1 ? models[index].name : "" }));
    find("verdict").replaceChildren(...spectra.map(verdictOf));
    draw();
  };
  return { take };
}

function chartOf(kind, { spectrum, plan, model }) {
  const name = model ? `${model}, ${plan.neighborhood}` : plan.neighborhood;
  const cumulative = kind === "curve";
  const own = {
    name,
    kind: "own",
    values: cumulative ? spectrum.cumulative : spectrum.eigenvalues,
    ends: cumulative ? spectrum.interval : null,
  };
  const nulls = spectrum.nulls.map((one, index) => ({
    name: one.label,
    kind: COLORS[index % COLORS.length],
    values: cumulative ? one.curve : one.eigenvalues,
    ends: cumulative ? one.curve_ends : one.eigenvalue_ends,
  }));
  const [value, label] = spectrum.threshold ?? [];
  return drawChart({
    k: spectrum.k,
    series: [own, ...nulls],
    scales: cumulative ? { x: "linear", y: "linear" } : { x: "log", y: "log" },
    top: cumulative ? 1 : undefined,
    format: cumulative ? (share, exact) => (exact ? percent(share) : `${Math.round(100 * share)} %`) : plainOrPower,
    xLabel: cumulative ? "components k" : "rank k",
    label: `${cumulative ? "Cumulative share of the variance" : "Variance of each component"} of ${name}, with null models. Arrow keys read values.`,
    line: !cumulative && spectrum.threshold ? { value, label } : null,
  });
}

function plainOrPower(value, exact) {
  return exact || (value >= 0.01 && value < 1e4) ? plain(value) : value.toExponential(0).replace("e", "·10^").replace("+", "");
}

function verdictOf({ spectrum, verdict, model }) {
  const { summary } = spectrum;
  const ratio = summary.participation_ratio_corrected ?? summary.participation_ratio;
  const lines = [
    make("b", { textContent: model ? `${model}: ` : "" }),
    `${summary.k50}, ${summary.k90} and ${summary.k99} components hold 50, 90 and 99\u202f% of the variance` +
      (ratio ? `; participation ratio ${plain(ratio)}` : "") +
      ". ",
    ...withCode(verdict ?? ""),
  ];
  return make("p", {}, ...lines);
}
