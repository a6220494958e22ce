/** What differs between two images, as colors. */

// From the paper to deep red, through yellow and orange: readable in gray, too.
const STOPS = [
  [0, 0, 4],
  [40, 11, 84],
  [101, 21, 110],
  [159, 42, 99],
  [212, 72, 66],
  [245, 125, 21],
  [250, 193, 39],
  [252, 255, 164],
];
const TABLE = colorTable();
const SMALLEST = 0.02; // of the range: a map of smaller changes is not stretched to full color

/**
 * Return the difference of two images as colors, and what it amounts to.
 *
 * @param {ImageData} before
 * @param {ImageData} after of the same size
 * @returns {{colors: ImageData, mean: number, limit: number}} mean absolute difference of the
 *   channels and the difference that has the brightest color, as shares of the range
 */
export function heatMap(before, after) {
  const count = before.width * before.height;
  const changes = new Float32Array(count);
  let sum = 0;
  for (let index = 0, place = 0; index < count; index++, place += 4) {
    const change =
      (Math.abs(before.data[place] - after.data[place]) +
        Math.abs(before.data[place + 1] - after.data[place + 1]) +
        Math.abs(before.data[place + 2] - after.data[place + 2])) /
      765;
    changes[index] = change;
    sum += change;
  }
  const limit = Math.max(quantile(changes, 0.995), SMALLEST);
  const colors = new ImageData(before.width, before.height);
  const pixels = new Uint32Array(colors.data.buffer);
  for (let index = 0; index < count; index++) {
    pixels[index] = TABLE[Math.min(255, Math.round((255 * changes[index]) / limit))];
  }
  return { colors, mean: sum / count, limit };
}

function quantile(values, share) {
  const bins = new Uint32Array(766);
  for (const value of values) bins[Math.round(value * 765)]++;
  let left = Math.ceil(values.length * (1 - share));
  for (let bin = 765; bin > 0; bin--) {
    left -= bins[bin];
    if (left <= 0) return bin / 765;
  }
  return 0;
}

function colorTable() {
  const table = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const place = (level / 255) * (STOPS.length - 1);
    const low = Math.min(Math.floor(place), STOPS.length - 2);
    const [red, green, blue] = STOPS[low].map((value, channel) =>
      Math.round(value + (place - low) * (STOPS[low + 1][channel] - value)),
    );
    table[level] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
  return table;
}
