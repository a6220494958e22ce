/** The page on the engine that asks the server which sent it. */

import { run } from "./page.js";
import { SocketEngine } from "./socket.js";

run(new SocketEngine(new URL("socket", location.href.split("#")[0].replace(/^http/, "ws"))));
