/** Fetching files so that what goes wrong can be read on the page. */

/** Something that the reader of the page should be told, in a title and a sentence or two. */
export class Problem extends Error {
  constructor(title, detail) {
    super(`${title}: ${detail}`);
    this.title = title;
    this.detail = detail;
  }
}

/**
 * Return the bytes of a file and its media type.
 *
 * @param {string} address relative to the page
 * @param {string} what for messages: "model", "runtime"
 * @param {(share: number) => void} [progress] called with 0 to 1 while it comes in
 * @returns {Promise<{bytes: Uint8Array, type: string}>}
 * @throws {Problem} it is missing, out of reach, or a web page in its place
 */
export async function fetchFile(address, what, progress = () => {}) {
  const answer = await ask(address, what);
  const type = (answer.headers.get("Content-Type") ?? "").split(";")[0].trim();
  if (type === "text/html") {
    throw new Problem(
      `The ${what} is not what it should be`,
      `The server sent a web page (text/html) for ${address}. Copy the whole folder that ` +
        "latentlab digits demo --export wrote, and let the server send files as they are.",
    );
  }
  return { bytes: await readAll(answer, progress, address, what), type };
}

async function ask(address, what) {
  let answer;
  try {
    answer = await fetch(address);
  } catch {
    throw new Problem(
      `The ${what} cannot be reached`,
      `No answer for ${address}. Is the server still running? latentlab digits demo starts it.`,
    );
  }
  if (!answer.ok) {
    throw new Problem(
      `The ${what} file is missing`,
      `The server answered ${answer.status} for ${address}. Copy the whole folder that ` +
        "latentlab digits demo --export wrote, or start latentlab digits demo again.",
    );
  }
  return answer;
}

async function readAll(answer, progress, address, what) {
  const expected = Number(answer.headers.get("Content-Length")) || 0;
  const parts = [];
  let length = 0;
  try {
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      length += value.length;
      if (expected) progress(Math.min(length / expected, 1));
    }
  } catch {
    throw new Problem(`The ${what} broke off`, `Only a part of ${address} came. Load it again.`);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
