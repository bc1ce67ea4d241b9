// Calls to the routes of docs/API.md.
import { ask, sentence } from "./call.js";

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
    const said = sentence(this.message);
    return this.status >= 500 && this.requestId ? `${said} (Request ${this.requestId})` : said;
  }
}

const UNREACHABLE = {
  code: "unreachable",
  message: "the service cannot be reached at the moment; nothing may have changed, and you can try again",
};

async function call(method, path, body, headers) {
  const asked = await ask(method, path, body, headers);
  if (!asked?.answer.ok) throw new ApiError(asked?.answer.status ?? 0, asked?.value?.error ?? UNREACHABLE);
  return asked.value;
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
