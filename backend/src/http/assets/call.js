// How a page calls the routes of docs/API.md: with the browser's cookie, and no longer than a person waits.

/** How long an answer may take: somewhat longer than we wait for Stripe, or for the replay of a hundred events. */
const TIMEOUT_MS = 60_000;

/** What was answered, with what its body says: null where that is no JSON. All of it is null where there was no answer. */
export async function ask(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers }, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  try {
    const answer = await fetch(path, options);
    return { answer, value: parsed(await answer.text()) };
  } catch {
    return null;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A message, which follows on “could not …:”, as a sentence. */
export const sentence = (message) => `${message.charAt(0).toUpperCase()}${message.slice(1)}.`.replace(/([.!?])\.$/, "$1");
