/** The latent of a state, as engine.js defines it and latentlab/explorer/state.py computes it. */

/**
 * @param {{shape: number[], start: Float32Array, vectors: Float32Array, steps: number[]}} model
 *   shape is [C, h, w]; vectors are unit directions, one after the other, each as long as start
 * @param {{alphas: number[], strokes: object[]}} state
 * @returns {Float32Array} C·h·w numbers
 */
export function latentOf({ shape, start, vectors, steps }, { alphas, strokes }) {
  const latent = Float32Array.from(start);
  steps.forEach((step, k) => {
    if (alphas[k]) addScaled(latent, vectors.subarray(k * latent.length, (k + 1) * latent.length), alphas[k] * step);
  });
  for (const stroke of strokes) {
    const k = stroke.direction;
    if (!(k < steps.length)) continue;
    const weights = brushMap(stroke, shape[1], shape[2]);
    const vector = vectors.subarray(k * latent.length, (k + 1) * latent.length);
    const amount = stroke.amount * steps[k];
    for (let place = 0; place < latent.length; place++) {
      latent[place] += amount * weights[place % weights.length] * vector[place];
    }
  }
  return latent;
}

function addScaled(latent, vector, factor) {
  for (let place = 0; place < latent.length; place++) latent[place] += factor * vector[place];
}

/** Return how much of a stroke each cell gets: (1 − d²/r²)² at distance d from its nearest point. */
export function brushMap({ radius, points }, rows, columns) {
  const longer = Math.max(rows, columns);
  const places = points.map(([x, y]) => [(x * columns) / longer, (y * rows) / longer]);
  return Float64Array.from({ length: rows * columns }, (_, cell) => {
    const x = ((cell % columns) + 0.5) / longer;
    const y = (Math.floor(cell / columns) + 0.5) / longer;
    const square = Math.min(...places.map(([px, py]) => (x - px) ** 2 + (y - py) ** 2)) / radius ** 2;
    return Math.max(1 - square, 0) ** 2;
  });
}

/** Return a state of the first model's directions as one of the second's that match them. */
export function matched({ alphas, strokes }, { indices, signs }) {
  const moved = indices.map(() => 0);
  indices.forEach((index, k) => {
    moved[index] = (moved[index] ?? 0) + signs[k] * (alphas[k] ?? 0);
  });
  return {
    alphas: Array.from(moved, (alpha) => alpha ?? 0),
    strokes: strokes
      .filter(({ direction }) => direction < indices.length)
      .map((stroke) => ({
        ...stroke,
        direction: indices[stroke.direction],
        amount: signs[stroke.direction] * stroke.amount,
      })),
  };
}
