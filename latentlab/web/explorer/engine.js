/**
 * The engine: whatever decodes for the page. The page talks to one such object and to nothing else.
 * `socket.js` asks a server; other engines may decode in the browser or through a notebook.
 *
 * engine.open()                → Promise<void>; rejects with a Problem if there is no engine
 * engine.choices               after open(): {neighborhoods: Choice[], finders: Choice[]}, with
 *                              Choice {name, about, settings: {name, default: number}[], why, blend};
 *                              why it is not there, else empty; blend: it needs an image to blend with.
 *                              Empty lists where nothing can be chosen
 * engine.limits                after open(): {alpha, imageBytes, samples}
 * engine.can                   after open(): {fit, image, record: string[], code, map}; what is false
 *                              or empty has no controls on the page, and its methods are not called
 * engine.ended                 a Problem: what is said after "closed"
 * engine.keep(place)           takes note of the address's part after #; only where it is there
 * engine.scene()               → Promise<Scene>; the scene, as soon as there is one
 * engine.show(state)           → Promise<Frame | null>; the latest state wins: null for a state that
 *                              a newer one has overtaken. Rejects with a Problem.
 * engine.cancel(errand)        stops "colors" alone; without an errand, a search and all that runs
 * engine.fit(plan)             searches other directions; scenes follow as events
 * engine.image(file, role)     takes a File or Blob, role "image" or "other"; scenes follow
 * engine.restart()             goes back to the first image
 * engine.record(walk)          → Promise<{name, blob}>; walk {direction, span, steps, format, state}
 * engine.code(state)           → Promise<string>; Python that makes the image of a state
 * engine.pick(number)          explores an image of the map
 * engine.color(name, numbers)  → Promise<Colors>; a number of each image of the map. For a coloring
 *                              that decodes, numbers are at most 300 images to measure now; rejects if
 *                              that is canceled, and keeps what was measured
 * engine.listen(kind, listener)
 *      "scene"     (Scene)     a new image, or more about its directions
 *      "frame"     (Frame)     the last state again, now exact
 *      "progress"  ({what, done, total, errand} | null)   of long work; null when there is none.
 *                              errand: "colors", "file" or "other"; empty for a search
 *      "problem"   ({text})    something the user asked for went wrong
 *      "map"       (Map)       of a store, once
 *      "thumbnails" ({first, count, picture: ImageBitmap})   the next sheet of the map's pictures
 *      "closed"    ()          there will be no more answers
 *
 * State  {alphas: number[], strokes: Stroke[], blend: number}
 *        alphas[k] steps along direction k of the first model; blend 0 is the image, 1 the other
 * Stroke {direction, amount, radius, points: [x, y][]}   x and y from 0 to 1 across and down;
 *        radius as a share of the longer side
 * The latent is lerp(start, other, blend) + Σ_k (alphas[k] + map_k) · step_k · vector_k, where map_k
 *        sums amount · (1 − d²/r²)² over the strokes along k, d being the distance from the middle of
 *        a cell to the nearest point of the stroke, and 0 beyond r.
 * Frame  {id, exact, images: ImageBitmap[], seconds}   an image a model; not exact: compressed with
 *        loss, so that it comes sooner. seconds is the time that decoding took.
 * Plan   {neighborhood, finder, n_samples: number | null, region: [x, y, w, h] | null, seed,
 *         settings: name → number}
 * Scene  {image: {name, sha256}, models: Model[], fits: Fit[], match: Match | null,
 *         other: {name, picture: ImageBitmap} | null}
 *        fits is empty until directions are found; then one a model
 * Model  {name, title, size: [w, h], native: [w, h] | null, psnr: number | null, preprocessing,
 *         latent: {shape: [C, h, w], stride, grid, std, limits: number[]},
 *         grid says whether cells have a place on the image.
 *         pictures: {image, reconstruction, latent, channels: ImageBitmap}}
 *        psnr null: nothing was lost. channels: one below the other, C·h high; limits[c] is white,
 *        −limits[c] black.
 * Fit    {plan: Plan, n_samples, n_features, about, statement, notes: string[], unit,
 *         strength_name, random_strength, directions: Direction[], spectrum, verdict: string | null,
 *         complete}
 * Direction {label, meaning: string | null, share, reliability: number | null,
 *         random_reliability: number | null, strength, step}
 * spectrum  {k: number[], cumulative: number[], eigenvalues: number[],
 *         interval: [low: number[], high: number[]] | null, total, threshold: [value, label] | null,
 *         summary: {participation_ratio, participation_ratio_corrected, k50, k90, k95, k99, …},
 *         nulls: {name, label, curve, curve_ends, eigenvalues, eigenvalue_ends}[]}
 * Map    {count, left_out, method: "pca" | "tsne" | "umap", seed, near: number of neighbors that
 *         the method keeps (its perplexity), components, shares: number[] of each of them,
 *         places: Float32Array (x, y, …), names: string[], neighbors: number, nearest: Uint32Array
 *         (neighbors of each), previews: boolean, other_shapes, shape: [C, h, w], side, columns,
 *         colorings: Coloring[]}   sheets hold columns² squares of this side, row by row
 * Coloring {name, label, group, about, threshold: number | null, below, decodes}   above the
 *         threshold, or below it, is a finding; decodes: images are measured only when asked for
 * Colors {…Coloring, values: Float32Array, measured}   one an image, NaN where there is none; of how
 *         many images it was measured
 * Match  {indices: number[], signs: number[], correlations: number[]}   of the second model's
 *        directions, for each of the first
 */

/** Something that the reader of the page should be told, in a title and a sentence or two. */
export class Problem extends Error {
  constructor(title, detail) {
    super(`${title}: ${detail}`);
    this.title = title;
    this.detail = detail;
  }
}

/** Listeners by kind, for engines to inherit from. */
export class Announcer {
  #listeners = new Map();

  listen(kind, listener) {
    this.#listeners.set(kind, [...(this.#listeners.get(kind) ?? []), listener]);
  }

  tell(kind, value) {
    for (const listener of this.#listeners.get(kind) ?? []) listener(value);
  }
}
