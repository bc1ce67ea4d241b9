// Calls to the routes of docs/API.md, with the browser's cookie.

/** How long an answer may take: somewhat longer than the service waits for Stripe. */
const TIMEOUT_MS = 60_000;

/** An answer that is no success; `code` is `unreachable` where there was none. */
export class ApiError extends Error {
  constructor(status, { code, message, declineCode, requestId }) {
    super(message);
    Object.assign(this, { status, code, declineCode, requestId });
  }

  /** Whether it is not known what became of it, so that the same has to be asked again under the same name. */
  get isOpen() {
    return this.status === 0 || this.status >= 500 || this.status === 429 || this.code === "idempotency_in_progress";
  }

  /** What is said of it to a person. */
  get text() {
    const sentence = `${this.message.charAt(0).toUpperCase()}${this.message.slice(1)}.`.replace(/([.!?])\.$/, "$1");
    return this.status >= 500 && this.requestId ? `${sentence} (Request ${this.requestId})` : sentence;
  }
}

const UNREACHABLE = {
  code: "unreachable",
  message: "the service cannot be reached at the moment; nothing may have changed, and you can try again",
};

async function call(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers }, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer, text;
  try {
    answer = await fetch(path, options);
    text = await answer.text();
  } catch {
    throw new ApiError(0, UNREACHABLE);
  }
  const value = parsed(text);
  if (!answer.ok) throw new ApiError(answer.status, value?.error ?? UNREACHABLE);
  return value;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const get = (path) => call("GET", path);
export const remove = (path) => call("DELETE", path);
export const post = (path, body) => call("POST", path, body);

/** The names of what was asked and whose outcome is not known. */
const open = new Map();

/** Does what a button is for. Each press has a name; one whose answer was lost keeps it, so that pressed again it is done once. */
export async function press(path, body = {}) {
  const asked = `${path} ${JSON.stringify(body)}`;
  const key = open.get(asked) ?? randomName();
  open.set(asked, key);
  try {
    const answer = await call("POST", path, body, { "Idempotency-Key": key });
    open.delete(asked);
    return answer;
  } catch (error) {
    if (!error.isOpen) open.delete(asked);
    throw error;
  }
}

// `crypto.randomUUID` is not there on a page that came by http from another machine.
function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
