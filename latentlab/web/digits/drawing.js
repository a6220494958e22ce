/** Images on canvases, and what can be measured of them. */

const ENLARGED = 112; // pixels, about

const scratch = document.createElement("canvas");

/** Return the color of ink in the current theme as [red, green, blue]. */
export function inkColor() {
  const [red, green, blue] = getComputedStyle(document.body).color.match(/[\d.]+/g).map(Number);
  return [red, green, blue];
}

/**
 * Return images side by side as pixels: ink in one color, as opaque as an image is dark.
 *
 * @param {Float32Array} images one after the other, in [0, 1]
 * @param {number} size side of an image
 * @param {number[]} color red, green, blue
 * @param {number} columns how many images a row has
 */
function toPixels(images, size, [red, green, blue], columns = 1) {
  const width = columns * size;
  const pixels = new ImageData(width, images.length / width);
  const { data } = pixels;
  for (let index = 0; index < images.length; index++) {
    const tile = Math.floor(index / (size * size));
    const x = (tile % columns) * size + (index % size);
    const y = Math.floor(tile / columns) * size + (Math.floor(index / size) % size);
    const place = 4 * (y * width + x);
    data[place] = red;
    data[place + 1] = green;
    data[place + 2] = blue;
    data[place + 3] = Math.round(255 * images[index]);
  }
  return pixels;
}

function fit(canvas, width, height) {
  // Setting a size, even the same, would clear the canvas and take its memory anew.
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return canvas.getContext("2d");
}

/** Draw images pixel by pixel, side by side; the style sheet makes them as large as they are. */
export function drawPixels(canvas, images, size, color, columns = 1) {
  const pixels = toPixels(images, size, color, columns);
  fit(canvas, pixels.width, pixels.height).putImageData(pixels, 0, 0);
}

/** Draw an image smoothly enlarged a few times; the style sheet does the rest. */
export function drawSmooth(canvas, image, size, color) {
  const side = size * Math.max(1, Math.round(ENLARGED / size));
  fit(scratch, size, size).putImageData(toPixels(image, size, color), 0, 0);
  const context = fit(canvas, side, side);
  context.clearRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  context.drawImage(scratch, 0, 0, side, side);
}

/**
 * Return how far an image leans to the right, in degrees; NaN without ink.
 *
 * arctan(−u₁₁/u₀₂) with central moments, y pointing down, as latentlab measures it.
 */
export function slantOf(image, size) {
  const [mass, sumX, sumY] = moments(image, size, (x, y) => [1, x, y]);
  const [middleX, middleY] = [sumX / mass, sumY / mass];
  const [, mixed, vertical] = moments(image, size, (x, y) => [
    1,
    (x - middleX) * (y - middleY),
    (y - middleY) ** 2,
  ]);
  return (Math.atan(-mixed / vertical) * 180) / Math.PI;
}

function moments(image, size, functions) {
  const sums = [0, 0, 0];
  for (let index = 0; index < image.length; index++) {
    const values = functions(index % size, Math.floor(index / size));
    for (let each = 0; each < 3; each++) sums[each] += image[index] * values[each];
  }
  return sums;
}

/** Return a slant in words. */
export function slantInWords(degrees) {
  if (!Number.isFinite(degrees)) return "no ink";
  const whole = Math.round(Math.abs(degrees));
  return whole ? `leans ${whole}° ${degrees > 0 ? "right" : "left"}` : "upright";
}
