/** The page inside of a notebook, on the engine that the widget around it talks to. */

import { Problem } from "./engine.js";
import { find } from "./dom.js";
import { run } from "./page.js";
import { SocketEngine } from "./socket.js";

class WidgetEngine extends SocketEngine {
  ended = new Problem("The notebook's kernel has ended", "Run the cell again.");

  async open() {
    try {
      await super.open();
    } catch {
      throw new Problem("The notebook's kernel does not answer", "Run the cell again.");
    }
    // A cell that is moved gets a new page, which begins where the last one was.
    if (this.place) history.replaceState(null, "", this.place);
  }

  keep(place) {
    frame.latentlabChannel.keep(place);
  }
}

const frame = window.frameElement;
find("loading-text").textContent = "Waiting for the notebook's kernel…";
run(new WidgetEngine(() => frame.latentlabChannel.open()));
