/** The engine that asks the server which sent this page, over one WebSocket; see engine.js. */

import { Announcer, Problem } from "./engine.js";

const HEADER = 4; // bytes of the length of a frame's header

export class SocketEngine extends Announcer {
  choices = { neighborhoods: [], finders: [] };
  limits = { alpha: 12, imageBytes: 0, samples: 64 };
  can = { fit: false, image: false, record: [], code: false, map: false };
  /** What is said once nobody answers any more. */
  ended = new Problem("The server has stopped", "Start latentlab explore again and open its new address.");

  #address;
  #socket = null;
  #scene = null;
  #first = Promise.withResolvers?.() ?? withResolvers();
  #shown = new Map(); // id → {resolve, reject} of states that wait for their image
  #answers = new Map(); // kind → {resolve, reject} of what was asked for once
  #coloring = ""; // of the map, by its name: the newest that was asked for
  #id = 0;
  #latest = 0; // id of the newest frame
  #order = Promise.resolve(); // frames are unpacked one after the other

  /** @param {string | URL | (() => object)} address of the WebSocket, or what opens one like it */
  constructor(address) {
    super();
    this.#address = address;
  }

  open() {
    return new Promise((resolve, reject) => {
      const lost = () =>
        reject(
          new Problem(
            "The server cannot be reached",
            "Is latentlab explore still running? Start it and open the address that it prints.",
          ),
        );
      this.#socket = typeof this.#address === "function" ? this.#address() : new WebSocket(this.#address);
      this.#socket.binaryType = "arraybuffer";
      this.#socket.addEventListener("close", () => {
        lost();
        this.#end();
      });
      this.#socket.addEventListener("message", ({ data }) => {
        this.#order = this.#order.then(() => this.#hear(data, resolve)).catch(reportError);
      });
    });
  }

  scene() {
    return this.#first.promise;
  }

  show(state) {
    const id = ++this.#id;
    const waiting = withResolvers();
    if (!this.#isOpen()) return Promise.reject(this.ended);
    this.#shown.set(id, waiting);
    this.#say({ type: "show", id, state });
    return waiting.promise;
  }

  cancel(errand) {
    this.#say({ type: "cancel", ...(errand && { errand }) });
  }

  fit(plan) {
    this.#say({ type: "fit", ...plan });
  }

  async image(file, role) {
    const content = new Uint8Array(await file.arrayBuffer());
    const name = (file.name || "image").slice(-120);
    const header = new TextEncoder().encode(JSON.stringify({ type: "image", role, name }));
    const frame = new Uint8Array(HEADER + header.length + content.length);
    new DataView(frame.buffer).setUint32(0, header.length);
    frame.set(header, HEADER);
    frame.set(content, HEADER + header.length);
    if (!this.#isOpen()) throw this.ended;
    this.#socket.send(frame);
  }

  pick(number) {
    this.#say({ type: "pick", number });
  }

  color(name, numbers = []) {
    this.#coloring = name;
    return this.#ask("colors", { type: "color", name, numbers });
  }

  restart() {
    this.#say({ type: "restart" });
  }

  record(walk) {
    return this.#ask("file", { type: "record", ...walk });
  }

  code(state) {
    return this.#ask("code", { type: "code", state });
  }

  #isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  #say(message) {
    if (this.#isOpen()) this.#socket.send(JSON.stringify(message));
  }

  #ask(kind, message) {
    if (!this.#isOpen()) return Promise.reject(this.ended);
    this.#answers.get(kind)?.reject(new Problem("Asked again", "The newer request counts."));
    const waiting = withResolvers();
    this.#answers.set(kind, waiting);
    this.#say(message);
    return waiting.promise;
  }

  #answer(kind, value) {
    this.#answers.get(kind)?.resolve(value);
    this.#answers.delete(kind);
  }

  async #hear(data, opened) {
    const { header, parts } = typeof data === "string" ? { header: JSON.parse(data) } : unpack(data);
    switch (header.type) {
      case "hello":
        this.#greet(header);
        opened();
        break;
      case "scene":
        this.#take({ ...header.scene, other: null }, await picturesOf(parts));
        break;
      case "fits":
        this.#take({ ...header.scene, other: this.#scene.other });
        break;
      case "other":
        this.#scene = { ...this.#scene, other: { name: header.name, picture: await bitmap(parts[0]) } };
        this.tell("scene", this.#scene);
        this.tell("progress", null);
        break;
      case "map":
        this.tell("map", mapOf(header, parts));
        break;
      case "thumbnails":
        this.tell("thumbnails", { ...header, picture: await bitmap(parts[0]) });
        break;
      case "frame":
        await this.#paint(header, parts);
        break;
      case "progress":
        this.tell("progress", header);
        break;
      case "idle":
        this.tell("progress", null);
        if (header.errand) this.#fail(header.errand, new Problem("Stopped", header.why));
        break;
      case "file":
        this.tell("progress", null);
        this.#answer("file", { name: parts[0].name, blob: new Blob([parts[0].bytes], parts[0]) });
        break;
      case "colors":
        if (header.name !== this.#coloring) break; // it was on its way when another was asked for
        this.#answer("colors", { ...header, values: new Float32Array(parts[0].bytes.slice().buffer) });
        break;
      case "code":
        this.#answer("code", header.text);
        break;
      case "problem":
        this.tell("problem", { text: header.text });
        break;
    }
  }

  #fail(kind, problem) {
    this.#answers.get(kind)?.reject(problem);
    this.#answers.delete(kind);
  }

  #greet(hello) {
    const { neighborhoods, finders, limits, formats, map, place } = hello;
    this.place = place; // of the page before this one, in a notebook
    this.choices = { neighborhoods, finders };
    this.limits = { ...limits, imageBytes: limits.image_bytes };
    this.can = { fit: true, image: true, record: formats, code: true, map: map > 0 };
  }

  /** Take over a scene; what is not sent again keeps its pictures. */
  #take(scene, pictures) {
    const models = scene.models.map((model, index) => ({
      ...model,
      pictures: pictures ? pictures[index] : this.#scene.models[index].pictures,
    }));
    this.#scene = { ...scene, models };
    this.#first.resolve(this.#scene);
    this.tell("scene", this.#scene);
  }

  /** Settle the state of a frame, and give up those before it. */
  async #paint({ id, exact, seconds }, parts) {
    const images = await Promise.all(parts.map(bitmap));
    const frame = { id, exact, images, seconds };
    for (const [older, waiting] of this.#shown) {
      if (older > id) continue;
      this.#shown.delete(older);
      waiting.resolve(older === id ? frame : null);
    }
    if (exact && id >= this.#latest) this.tell("frame", frame);
    this.#latest = Math.max(this.#latest, id);
  }

  #end() {
    for (const waiting of this.#shown.values()) waiting.reject(this.ended);
    this.#shown.clear();
    for (const kind of [...this.#answers.keys()]) this.#fail(kind, this.ended);
    this.tell("closed");
  }
}

/** Return the header and the parts of a frame of the server. */
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, HEADER, length)));
  let place = HEADER + length;
  const parts = header.parts.map(({ name, type, bytes }) => {
    const content = new Uint8Array(buffer, place, bytes);
    place += bytes;
    return { name, type, bytes: content };
  });
  return { header, parts };
}

function bitmap({ type, bytes }) {
  return createImageBitmap(new Blob([bytes], { type }), { colorSpaceConversion: "none" });
}

/** Return the pictures of each model: "0/image" is the image of the first. */
async function picturesOf(parts) {
  const found = [];
  await Promise.all(
    parts.map(async (part) => {
      const [model, name] = part.name.split("/");
      (found[Number(model)] ??= {})[name] = await bitmap(part);
    }),
  );
  return found;
}

/** Return a map with its arrays; bytes are copied, for numbers must begin at multiples of four. */
function mapOf(header, [places, near, names]) {
  return {
    ...header,
    places: new Float32Array(places.bytes.slice().buffer),
    nearest: new Uint32Array(near.bytes.slice().buffer),
    names: JSON.parse(new TextDecoder().decode(names.bytes)),
  };
}

function withResolvers() {
  const found = {};
  found.promise = new Promise((resolve, reject) => Object.assign(found, { resolve, reject }));
  return found;
}
