/** Several processors for a page of files: browsers allow them only with headers that few hosts send. */

const WORKER = "headers.js";
const PATIENCE = 5_000; // milliseconds for the service worker to start

/**
 * Reload the page once through a service worker that adds the headers; resolve at once where that
 * is not needed or not possible. The page then decodes on one processor.
 */
export async function isolate() {
  if (self.crossOriginIsolated || !isUseful()) return;
  try {
    if ((await isTaken()) || was("reloaded")) return;
    await navigator.serviceWorker.register(new URL(WORKER, document.baseURI));
    await within(PATIENCE, navigator.serviceWorker.ready);
  } catch {
    return; // a browser or a host that does not allow it
  }
  location.reload();
  await new Promise(() => {}); // nothing is loaded twice
}

/**
 * Reload the page without the service worker, once in a tab; resolve at once if it has none. For a
 * browser that isolates the page and then does not let its decoder start: WebKit loads no worker
 * that way.
 */
export async function undoIsolation() {
  const address = new URL(WORKER, document.baseURI).href;
  try {
    if (navigator.serviceWorker?.controller?.scriptURL !== address || was("undone")) return;
    was("reloaded"); // so that isolate leaves it
    await (await navigator.serviceWorker.getRegistration())?.unregister();
  } catch {
    return;
  }
  location.reload();
  await new Promise(() => {});
}

function isUseful() {
  const framed = self !== self.top; // the page around it decides
  return self.isSecureContext && "serviceWorker" in navigator && !framed && navigator.hardwareConcurrency > 1;
}

/** Return whether this folder has a service worker of somebody else's. */
async function isTaken() {
  const found = await navigator.serviceWorker.getRegistration();
  if (found?.scope !== new URL(".", document.baseURI).href) return false;
  return found.active?.scriptURL !== new URL(WORKER, document.baseURI).href;
}

/** Return whether this tab did something with the page before, and remember it; throw if it cannot. */
function was(done) {
  const key = `latentlab ${done} ${location.pathname}`;
  if (sessionStorage.getItem(key)) return true;
  sessionStorage.setItem(key, "yes"); // it throws where nothing may be stored
  return false;
}

function within(milliseconds, promise) {
  const late = new Promise((_, reject) => setTimeout(reject, milliseconds));
  return Promise.race([promise, late]);
}
