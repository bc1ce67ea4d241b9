// Calls to the routes of docs/API.md.
import { ask, sentence } from "./call.js";

/** An answer that is no success; `code` is `unreachable` where there was none. */
export class ApiError extends Error {
  constructor(status, { code, message, requestId }, retryAfterSeconds = null) {
    super(message);
    Object.assign(this, { status, code, requestId, retryAfterSeconds });
  }

  /** What is said of it to a person; by the request's id the logs of both tiers tell more. */
  get text() {
    const said = sentence(this.message);
    return this.requestId ? `${said} Request ${this.requestId}` : said;
  }
}

const UNREACHABLE = { code: "unreachable", message: "the backend cannot be reached at the moment" };

async function call(method, path, body) {
  const asked = await ask(method, path, body);
  if (asked === null) throw new ApiError(0, UNREACHABLE);
  const { answer, value } = asked;
  if (answer.ok) return value;
  const requestId = answer.headers.get("x-request-id");
  const unreadable = { code: "unreadable", message: `the answer was ${answer.status}, and not one of the backend's`, requestId };
  throw new ApiError(answer.status, value?.error ?? unreadable, Number(answer.headers.get("retry-after")) || null);
}

/** Of `query`, an object, what is null or blank is left out. */
export function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  const search = new URLSearchParams(given).toString();
  return call("GET", search === "" ? path : `${path}?${search}`);
}

export const post = (path, body = {}) => call("POST", path, body);
export const remove = (path, body) => call("DELETE", path, body);

/** The answer, or null where there is no such thing. */
export async function find(path, query) {
  try {
    return await get(path, query);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** The same whose status says how bad it is: with 503 there is an answer as well. */
export async function health() {
  const asked = await ask("GET", "/api/monitoring/health");
  if (asked?.value?.checks) return asked.value;
  throw new ApiError(asked?.answer.status ?? 0, asked?.value?.error ?? UNREACHABLE);
}

/** An address below `path`: an id may be anything. */
export const at = (path, ...ids) => [path, ...ids.map(encodeURIComponent)].join("/");
