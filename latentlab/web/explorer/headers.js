/**
 * A service worker that adds the headers with which a browser lets a page use several processors,
 * on hosts that do not send them. It keeps no files, and changes no other requests.
 */

const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const CHANGED = ["document", "worker"]; // an embedded page stays as it is: its frame decides

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("fetch", (event) => {
  if (CHANGED.includes(event.request.destination)) event.respondWith(answer(event.request));
});

async function answer(request) {
  const response = await fetch(request);
  if (!response.status) return response; // a redirection, which the browser follows itself
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}
