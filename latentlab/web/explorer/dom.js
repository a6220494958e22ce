/** Elements, and numbers in words. */

const MINUS = "−";
const THIN = "\u202f"; // a narrow space at which no line breaks

export const find = (id) => document.getElementById(id);

/** Make an element with properties, attributes (by names with a hyphen, and role) and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

/** Return an input with its label. */
export function field(text, input) {
  return make("label", { className: "field", htmlFor: input.id }, make("span", { textContent: text }), input);
}

/** Return a text as nodes, with what stands in backticks as code. */
export function withCode(text) {
  return text.replaceAll(" %", `${THIN}%`).split("`").map((part, place) => (place % 2 ? make("code", { textContent: part }) : part));
}

/** Return a text that begins with a capital. */
export function capital(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}

/** Return an amount with its sign, such as "+1.25" or "−0.5"; 0 has none. */
export function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return "0";
  return `${value < 0 ? MINUS : "+"}${text}`;
}

/** Return a share as percent with three digits that count. */
export function percent(share) {
  const value = 100 * share;
  if (!Number.isFinite(value)) return "–";
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value.toPrecision(value < 1 ? 2 : 3)}${THIN}%`;
}

/** Return a correlation or a cosine as papers write it: .97. */
export function short(value) {
  const digits = Math.abs(value).toFixed(2).replace(/^0/, "");
  return (value < 0 && Number(digits) ? MINUS : "") + digits;
}

/** Return a positive number with two digits that count, and thousands apart. */
export function plain(value) {
  if (!Number.isFinite(value)) return "–";
  const rounded = value === 0 ? 0 : Number(value.toPrecision(value >= 100 ? 3 : 2));
  return rounded.toLocaleString("en-US", { maximumFractionDigits: 6 });
}

/** Draw a bitmap into a canvas of its size. */
export function drawBitmap(canvas, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("2d").drawImage(image, 0, 0);
}

/** Return the pixels of a bitmap. */
export function pixelsOf(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.width, image.height);
}
