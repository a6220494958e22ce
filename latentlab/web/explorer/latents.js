/** The latent as colors, and each of its channels in gray. */

import { drawBitmap, find, make, plain } from "./dom.js";

const MOST_COLUMNS = 8;

/** Return what takes scenes. */
export function buildLatents() {
  let shown = [];
  const take = ({ models }) => {
    const pictures = models.map((model) => model.pictures);
    if (pictures.every((one, index) => one === shown[index])) return;
    shown = pictures;
    find("latent").replaceChildren(...models.flatMap((model) => partsOf(model, models.length > 1)));
  };
  return { take };
}

function partsOf(model, several) {
  const { shape, stride, std } = model.latent;
  const [channels, height, width] = shape;
  const colors = make("canvas", { className: "latent-rgb", role: "img", "aria-label": `${model.name}: the latent as colors` });
  drawBitmap(colors, model.pictures.latent);
  colors.style.setProperty("--shape", width / height);
  const about =
    `${several ? `${model.name}: ` : ""}${channels} channels of ${width} × ${height} cells` +
    `${stride > 1 ? `, one for ${stride} × ${stride} pixels` : ""}, standard deviation ${plain(std)}. ` +
    "Colors are the first three components of the cells; in a channel, gray is 0.";
  const grid = make("div", { className: "channels" }, ...channelsOf(model));
  grid.style.setProperty("--columns", Math.min(channels, MOST_COLUMNS));
  grid.style.setProperty("--shape", width / height);
  return [make("p", { className: "help", textContent: about }), make("div", { className: "latent-pair" }, colors, grid)];
}

function channelsOf({ name, latent, pictures }) {
  const [channels, height, width] = latent.shape;
  return Array.from({ length: channels }, (_, channel) => {
    const limit = plain(latent.limits[channel]);
    const canvas = make("canvas", {
      width,
      height,
      role: "img",
      title: `channel ${channel + 1}: black −${limit}, white ${limit}`,
      "aria-label": `${name}: channel ${channel + 1}, from −${limit} to ${limit}`,
    });
    canvas.getContext("2d").drawImage(pictures.channels, 0, channel * height, width, height, 0, 0, width, height);
    return canvas;
  });
}
