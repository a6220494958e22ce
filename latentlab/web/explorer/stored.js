/** What engines share whose scene lies in files beside the page; see engine.js. */

import { Announcer, Problem } from "./engine.js";

const DESCRIPTION = "scene/scene.json";
const FORMAT = "latentlab explorer page 1";

/** Return the description of the scene. */
export async function readDescription() {
  const bytes = await fetchBytes(DESCRIPTION);
  let found = null;
  try {
    found = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // told below
  }
  if (found?.format !== FORMAT) {
    throw new Problem(
      "The scene cannot be read",
      `${DESCRIPTION} is not what latentlab explore --export writes. Export the page again.`,
    );
  }
  return found;
}

/** Return the bytes of a file beside the page. */
export async function fetchBytes(address) {
  let response;
  try {
    response = await fetch(new URL(address, document.baseURI));
  } catch {
    throw new Problem("A file cannot be loaded", `${address}: is there still a connection?`);
  }
  if (!response.ok) {
    throw new Problem("A file is missing", `${address} (${response.status}). Copy the whole folder again.`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

/** Return a file's image as it is, without color management. */
export async function fetchBitmap(address) {
  const bytes = await fetchBytes(address);
  return createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
}

/** An engine that shows one scene and can search nothing. */
export class StoredEngine extends Announcer {
  choices = { neighborhoods: [], finders: [] };
  can = { fit: false, image: false, record: [], code: false, map: false };
  limits;
  #scene;

  /** @param {object} description what scene.json says */
  constructor(description) {
    super();
    this.description = description;
    this.limits = { alpha: description.limits.alpha, imageBytes: 0, samples: 0 };
  }

  async open() {
    const { scene, models } = this.description;
    const pictures = await Promise.all(models.map((model) => picturesOf(model.pictures)));
    const described = scene.models.map((model, k) => ({ ...model, pictures: pictures[k] }));
    this.#scene = { ...scene, models: described, other: null };
  }

  async scene() {
    return this.#scene;
  }

  /** The pictures of the start, which need no decoder. */
  get reconstructions() {
    return this.#scene.models.map((model) => model.pictures.reconstruction);
  }
}

async function picturesOf(addresses) {
  const found = Object.entries(addresses).map(async ([name, address]) => [name, await fetchBitmap(address)]);
  return Object.fromEntries(await Promise.all(found));
}
