// How the page learns that something has changed: from the streams of its licences, and by asking now and then.

/** How often is asked while there is no stream: before the first purchase, or while one is away. */
const ASK_MS = 5_000;

/** What is gathered into one look. */
const GATHER_MS = 100;

const TYPES = [
  ...["created", "updated", "cancel_scheduled", "cancelled", "reactivated", "past_due"].map((end) => `subscription_${end}`),
  ...["created", "suspended", "expired", "revoked", "reinstated"].map((end) => `license_${end}`),
  ...["plan_changed", "payment_succeeded", "payment_failed", "machine_activated", "machine_deactivated", "gap"],
];

/** Calls `look` when something may have changed, while the page is seen. */
export class Live {
  #sources = new Map();
  #look;
  #due = null;
  #asking;
  #listening = new AbortController();

  constructor(look) {
    this.#look = look;
    this.#asking = setInterval(() => this.#ask(), ASK_MS);
    // A tab that nobody sees holds no connection, of which a browser has few for each server.
    const seen = () => (document.hidden ? this.#close() : this.#soon());
    document.addEventListener("visibilitychange", seen, { signal: this.#listening.signal });
  }

  /** Listens to what happens to the licences with these keys, and to no others. */
  follow(keys) {
    if (document.hidden) return;
    const wanted = new Set(keys);
    for (const [key, source] of this.#sources) {
      if (!wanted.has(key) || source.readyState === EventSource.CLOSED) {
        source.close();
        this.#sources.delete(key);
      }
    }
    for (const key of wanted) if (!this.#sources.has(key)) this.#sources.set(key, this.#open(key));
  }

  /** Listens and asks no more. */
  stop() {
    this.#close();
    this.#listening.abort();
    clearInterval(this.#asking);
    clearTimeout(this.#due);
  }

  #open(key) {
    const source = new EventSource(`/api/events/${encodeURIComponent(key)}`);
    for (const type of TYPES) source.addEventListener(type, () => this.#soon());
    // Back after an outage, of which it was said that what is seen may be out of date.
    let wasOpen = false;
    source.addEventListener("open", () => {
      if (wasOpen) this.#soon();
      wasOpen = true;
    });
    return source;
  }

  #close() {
    for (const source of this.#sources.values()) source.close();
    this.#sources.clear();
  }

  #ask() {
    const sources = [...this.#sources.values()];
    const isTold = sources.length > 0 && sources.every((source) => source.readyState === EventSource.OPEN);
    if (!isTold && !document.hidden) this.#soon();
  }

  #soon() {
    if (this.#due !== null || this.#listening.signal.aborted) return;
    this.#due = setTimeout(() => {
      this.#due = null;
      this.#look();
    }, GATHER_MS);
  }
}
