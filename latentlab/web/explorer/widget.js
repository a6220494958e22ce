/**
 * The explorer as a widget of a notebook, for anywidget: the page in a frame of its own, so that
 * its styles, addresses and keys are its own, too.
 *
 * The page talks to Python through the widget's messages. Each view of the widget is one page:
 *   to Python    {view, open: true}, {view, text}, {view} with a buffer, {view, seen}, {view, place},
 *                {view, closed: true}
 *   from Python  {view, text}, or {view} with a buffer
 * `seen` answers each message, so that Python sends no more than the page can show. `place` is where
 * the page is, as in a link; Python tells it to the next page of the widget.
 */

const PATIENCE = 20_000; // milliseconds in which the kernel must answer

/** Return what anywidget runs; files are those of the page, by name. */
export function widgetOf(files) {
  return { render: ({ model, el }) => render(files, model, el) };
}

function render(files, model, el) {
  const addresses = [];
  const publish = (content, type) => {
    const address = URL.createObjectURL(new Blob([content], { type }));
    addresses.push(address);
    return address;
  };
  const frame = document.createElement("iframe");
  frame.title = "latentlab explorer";
  frame.style.cssText = "display: block; width: 100%; height: 46rem; border: 0; resize: vertical;";
  const channel = new Channel(model);
  frame.latentlabChannel = channel;
  frame.src = publish(pageOf(files, publish), "text/html");
  el.replaceChildren(frame);
  return () => {
    channel.close();
    addresses.forEach((address) => URL.revokeObjectURL(address));
  };
}

/** Return the page in one file: styles inlined, and modules under the names of an import map. */
function pageOf(files, publish) {
  const imports = {};
  for (const [name, content] of Object.entries(files)) {
    if (name.endsWith(".js")) imports[`latentlab/${name}`] = publish(renamed(content), "text/javascript");
  }
  const map = JSON.stringify({ imports });
  const styles = files["style.css"] + files["embedded.css"];
  return files["index.html"]
    .replace(/<link rel="icon"[^>]*>/, "")
    .replace(/<link rel="stylesheet"[^>]*>/, () => `<style>${styles}</style>`)
    .replace(
      /<script type="module"[^>]*><\/script>/,
      () => `<script type="importmap">${map}</script><script type="module">import "latentlab/embedded.js";</script>`,
    );
}

/** Return a module whose imports go through the import map: a blob has no files beside it. */
function renamed(source) {
  return source.replaceAll(/\bfrom "\.\//g, 'from "latentlab/');
}

/** What a WebSocket is to the page: messages through the model of a widget. */
class Channel extends EventTarget {
  readyState = WebSocket.CONNECTING;
  #model;
  #view = "";
  #timer = 0;
  #seen = 0;

  constructor(model) {
    super();
    this.#model = model;
    model.on("msg:custom", this.#hear);
    model.on("comm_live_update", this.#lose); // Jupyter's word for a kernel that was restarted
  }

  /** Begin to talk; the page calls it once it listens, and anew when its frame has moved. */
  open() {
    if (this.readyState === WebSocket.CLOSED) throw new Error("the kernel has ended");
    if (this.#view) this.#model.send({ view: this.#view, closed: true });
    this.#view = Math.random().toString(36).slice(2);
    this.#seen = 0;
    this.readyState = WebSocket.OPEN;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.close(), PATIENCE);
    this.#model.send({ view: this.#view, open: true });
    return this;
  }

  send(data) {
    if (typeof data === "string") this.#model.send({ view: this.#view, text: data });
    else this.#model.send({ view: this.#view }, undefined, [data.buffer]);
  }

  /** Tell Python where the page is. */
  keep(place) {
    if (this.readyState === WebSocket.OPEN) this.#model.send({ view: this.#view, place });
  }

  close() {
    if (this.readyState === WebSocket.CLOSED) return;
    this.#model.send({ view: this.#view, closed: true });
    this.#lose();
  }

  #lose = () => {
    this.readyState = WebSocket.CLOSED;
    clearTimeout(this.#timer);
    this.#model.off("msg:custom", this.#hear);
    this.#model.off("comm_live_update", this.#lose);
    this.dispatchEvent(new Event("close"));
  };

  #hear = (message, buffers) => {
    if (message?.view !== this.#view) return;
    clearTimeout(this.#timer);
    if (message.closed) {
      this.close();
      return;
    }
    const [buffer] = buffers ?? [];
    const data = buffer ? copied(buffer) : message.text;
    this.dispatchEvent(new MessageEvent("message", { data }));
    this.#model.send({ view: this.#view, seen: ++this.#seen });
  };
}

/** Return the bytes of a view, or of a buffer, as a buffer of their own. */
function copied(given) {
  const bytes = ArrayBuffer.isView(given) ? new Uint8Array(given.buffer, given.byteOffset, given.byteLength) : new Uint8Array(given);
  return bytes.slice().buffer;
}
