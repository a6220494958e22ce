/** The page inside of a notebook, on the engine that the widget around it talks to. */

import { Problem } from "./engine.js";
import { find } from "./dom.js";
import { run } from "./page.js";
import { SocketEngine } from "./socket.js";

class WidgetEngine extends SocketEngine {
  async open() {
    try {
      await super.open();
    } catch {
      throw new Problem("The notebook's kernel does not answer", "Run the cell again.");
    }
  }
}

const { latentlabChannel } = window.frameElement;
find("loading-text").textContent = "Waiting for the notebook's kernel…";
run(new WidgetEngine(() => latentlabChannel.open()));
