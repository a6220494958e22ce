/** The state as the part of the address after #, and back. */

/**
 * Return, say, `digit=4&z=0,0,0,1.5&plane=0,1`.
 *
 * @param {{label: number, z: number[], plane: number[]}} state
 */
export function toHash({ label, z, plane }) {
  return `digit=${label}&z=${z.join(",")}&plane=${plane.join(",")}`;
}

/**
 * Return what a hash says, without what makes no sense for the model.
 *
 * @param {string} hash with or without its #
 * @param {object} model the description in onnx.json
 * @returns {{label?: number, z?: number[], plane?: number[]}}
 */
export function fromHash(hash, model) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const found = {};
  const label = Number(parts.get("digit") || NaN);
  if (model.labels.includes(label)) found.label = label;
  const z = numbers(parts.get("z"));
  if (z.length === model.latent && z.every(Number.isFinite)) found.z = z;
  const plane = numbers(parts.get("plane"));
  const known = (latent) => Number.isInteger(latent) && latent >= 0 && latent < model.latent;
  if (plane.length === 2 && plane.every(known)) found.plane = plane;
  return found;
}

function numbers(text) {
  return text ? text.split(",").map((part) => (part.trim() ? Number(part) : NaN)) : [];
}
