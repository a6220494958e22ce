/** How latents are called, and what they do. */

const ENDS = {
  slant: ["leans left", "leans right"],
  thickness: ["thin", "thick"],
  width: ["narrow", "wide"],
  height: ["short", "tall"],
  area: ["light", "heavy"],
  length: ["short line", "long line"],
};
const LOW_DIGITS = "₀₁₂₃₄₅₆₇₈₉";

/** Return z₃ for 3. */
export function latentName(latent) {
  return `z${String(latent).replace(/\d/g, (digit) => LOW_DIGITS[digit])}`;
}

/** Return "z₃, leans left to leans right" for screen readers and lists. */
export function latentTitle(model, latent) {
  const [low, high] = latentEnds(model, latent);
  return low ? `${latentName(latent)}, ${low} to ${high}` : latentName(latent);
}

/** Return what a latent does at its low and its high end; empty where it hardly does anything. */
export function latentEnds(model, latent) {
  const effect = model.effects[latent];
  const ends = effect ? ENDS[effect.factor] : ["", ""];
  return effect && effect.change < 0 ? [ends[1], ends[0]] : ends;
}

/** Return a number with two decimals and a real minus sign. */
export function shown(value) {
  return value.toFixed(2).replace("-", "−");
}
