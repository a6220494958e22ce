/** Another image: dropped, pasted or chosen. */

import { find, make } from "./dom.js";

/** Build the place for images; return what takes scenes. */
export function buildIntake(page) {
  const { engine } = page;
  const section = find("intake").closest("section");
  section.hidden = !engine.can.image;
  if (!engine.can.image) return { take() {} };
  const choose = chooser("Choose an image", "choose-image", (file) => offer(page, file, "image"));
  const other = chooser("Blend with another", "choose-other", (file) => offer(page, file, "other"));
  const restart = make("button", { type: "button", id: "restart", textContent: "Back to the first image" });
  restart.addEventListener("click", () => engine.restart());
  find("intake").append(
    make("p", {
      className: "help",
      textContent: "Drop an image anywhere on this page, paste one, or choose a file. It goes to the server on this machine and nowhere else.",
    }),
    make("div", { className: "buttons" }, choose, other, restart),
  );
  acceptDrops(page);
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (file) offer(page, file, "image");
  });
  const first = { sha256: null };
  const take = (scene) => {
    first.sha256 ??= scene.image.sha256;
    restart.hidden = first.sha256 === scene.image.sha256;
  };
  return { take };
}

function chooser(text, id, chosen) {
  const input = make("input", { type: "file", id, accept: "image/*", className: "file" });
  input.addEventListener("change", () => {
    if (input.files[0]) chosen(input.files[0]);
    input.value = "";
  });
  return make("label", { className: "button", htmlFor: id }, make("span", { textContent: text }), input);
}

function acceptDrops(page) {
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    const file = event.dataTransfer.files[0];
    if (file) offer(page, file, "image");
  });
}

/** Send an image, unless it is too large or nothing that is worth a try. */
function offer({ engine, say }, file, role) {
  const most = engine.limits.imageBytes;
  if (file.size > most) {
    say(`${file.name} has ${megabytes(file.size)} MB; at most ${megabytes(most)} MB can be sent. Shrink it first.`, "problem");
    return;
  }
  if (!file.size || (file.type && !file.type.startsWith("image/"))) {
    say(`${file.name} is no image. Choose a PNG, JPEG or WebP file.`, "problem");
    return;
  }
  say(`Encoding ${file.name || "the image"}…`);
  Promise.resolve(engine.image(file, role)).catch((problem) => {
    say(`${file.name || "The image"} was not sent. ${problem.detail ?? problem}`, "problem");
  });
}

function megabytes(bytes) {
  return (bytes / 2 ** 20).toFixed(bytes < 2 ** 24 ? 1 : 0);
}
