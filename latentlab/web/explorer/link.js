/** The state as the part of the address after #, and back. It holds no image. */

const POINTS = 1000; // points of strokes are kept to a thousandth of the image
const LARGEST = 12; // steps of a stroke
const MOST = { directions: 256, strokes: 128, points: 512, settings: 32 }; // as engines take them

/**
 * Return, say, `image=0123456789ab&a=1.5,0,-2&k=augment&f=pca`.
 *
 * @param {object} scene
 * @param {{alphas: number[], strokes: object[], blend: number}} state
 */
export function toHash(scene, { alphas, strokes, blend }) {
  const parts = new URLSearchParams();
  parts.set("image", scene.image.sha256.slice(0, 12));
  if (alphas.some((alpha) => alpha)) parts.set("a", trimmed(alphas).join(","));
  if (strokes.length) parts.set("p", strokes.map(strokeToText).join(";"));
  if (blend) parts.set("b", blend);
  const plan = scene.fits[0]?.plan;
  if (plan) {
    parts.set("k", plan.neighborhood);
    parts.set("f", plan.finder);
    if (plan.n_samples) parts.set("n", plan.n_samples);
    if (plan.seed) parts.set("s", plan.seed);
    const settings = Object.entries(plan.settings ?? {});
    if (settings.length) parts.set("o", settings.map((one) => one.join(":")).join(","));
    if (plan.region) parts.set("r", plan.region.join(","));
  }
  return parts.toString().replaceAll("%2C", ",").replaceAll("%3B", ";").replaceAll("%3A", ":");
}

/**
 * Return what a hash says, without what makes no sense.
 *
 * @returns {{image: string | null, state: {alphas?, strokes?, blend?}, plan: object | null}}
 */
export function fromHash(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const state = {};
  const alphas = numbers(parts.get("a"));
  if (alphas?.length) state.alphas = alphas.slice(0, MOST.directions);
  const strokes = (parts.get("p") ?? "").split(";").filter(Boolean).map(strokeFromText);
  if (strokes.length && strokes.every(Boolean)) state.strokes = strokes.slice(0, MOST.strokes);
  const blend = Number(parts.get("b") ?? NaN);
  if (blend >= 0 && blend <= 1) state.blend = blend;
  return { image: parts.get("image"), state, plan: planOf(parts) };
}

function planOf(parts) {
  if (!parts.get("k") || !parts.get("f")) return null;
  const region = numbers(parts.get("r"));
  return {
    neighborhood: parts.get("k"),
    finder: parts.get("f"),
    n_samples: whole(parts.get("n")) || null,
    seed: whole(parts.get("s")) ?? 0,
    region: region?.length === 4 ? region : null,
    settings: settingsOf(parts.get("o")),
  };
}

function settingsOf(text) {
  const pairs = (text ?? "").split(",").map((part) => part.split(":"));
  const found = pairs.filter(([name, value]) => name && value && Number.isFinite(Number(value)));
  return Object.fromEntries(found.slice(0, MOST.settings).map(([name, value]) => [name, Number(value)]));
}

function strokeToText({ direction, amount, radius, points }) {
  const places = points.flat().map((value) => Math.round(value * POINTS));
  return [direction, amount, Number(radius.toFixed(3)), ...places].join(",");
}

function strokeFromText(text) {
  const [direction, amount, radius, ...places] = numbers(text) ?? [];
  const known = Number.isInteger(direction) && direction >= 0 && direction < MOST.directions;
  if (!known || !(radius >= 0.001) || places.length < 2) return null;
  const points = [];
  for (let place = 0; place + 1 < places.length && points.length < MOST.points; place += 2) {
    points.push([within(places[place] / POINTS), within(places[place + 1] / POINTS)]);
  }
  return { direction, amount: Math.min(Math.max(amount, -LARGEST), LARGEST), radius: Math.min(radius, 2), points };
}

function within(share) {
  return Math.min(Math.max(share, 0), 1);
}

function trimmed(alphas) {
  const last = alphas.findLastIndex((alpha) => alpha);
  return alphas.slice(0, last + 1);
}

function whole(text) {
  const value = Number(text ?? NaN);
  return Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function numbers(text) {
  if (!text) return null;
  const found = text.split(",").map((part) => (part.trim() ? Number(part) : NaN));
  return found.every(Number.isFinite) ? found : null;
}
