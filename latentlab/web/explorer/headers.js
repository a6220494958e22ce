/**
 * A service worker that adds the headers with which a browser lets a page use several processors,
 * on hosts that do not send them. It keeps no files. It outlives the page, so it changes nothing
 * but that page and its workers, whatever else is served from this address later.
 */

const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const MARK = '<meta name="generator" content="latentlab">';

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("fetch", (event) => {
  if (mayBeOurs(event.request)) event.respondWith(answer(event.request));
});

/** Return whether a request is for a page in this folder, or for a worker of ours. */
function mayBeOurs({ destination, url }) {
  const { pathname } = new URL(url);
  const folder = new URL(self.registration.scope).pathname;
  if (!pathname.startsWith(folder)) return false;
  const place = pathname.slice(folder.length);
  if (destination === "worker") return place === "worker.js" || place.startsWith("vendor/");
  // An embedded page stays as it is: its frame decides.
  return destination === "document" && !place.includes("/");
}

async function answer(request) {
  const response = await fetch(request);
  if (!response.status) return response; // a redirection, which the browser follows itself
  if (request.destination === "document" && !(await isOurs(response))) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

async function isOurs(response) {
  if (!response.headers.get("Content-Type")?.startsWith("text/html")) return false;
  return (await response.clone().text()).includes(MARK);
}
