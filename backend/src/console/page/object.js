// An object's page: its title with what can be done, its facts, and what belongs to it.
import { button, el } from "./dom.js";
import { words } from "./format.js";

/** What is shown in a section of its own. It is made anew when what is `seen` has changed, and only then. */
export const part = (id, seen, build) => ({ id, seen, build });

/** The same with a heading. */
export const panel = (id, title, seen, build) =>
  part(id, seen, () => [el("h2", { id: `${id}-title`, tabindex: "-1" }, title), build()]);

/** How good or bad the words are that routes answer: what is in none of these is neither. */
const KINDS = {
  good: "processed active trialing connected ok confirmed paid succeeded resolved sent published answered completed acknowledged duplicate",
  warn: "failed retrying queued past_due degraded suspended pending draft grace suspect incomplete late running warning joining sending",
  bad: "dead_lettered down revoked unpaid critical firing error refused unanswered stale",
};
const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, list]) => list.split(" ").map((word) => [word, kind])));

/** A word for a state; `kind` where the word alone does not say how bad it is. */
export function badge(word, kind = KIND_OF.get(word) ?? "plain") {
  return word == null ? el("span.quiet", null, "—") : el(`span.badge.${kind}`, null, words(word));
}

/** An id: set so that each of its characters can be told. */
export const code = (text) => (text == null ? el("span.quiet", null, "—") : el("code", null, text));

/** A way to another page of the console. */
export const to = (href, ...children) => el("a", { href }, children);

/** Names and values; those without a value are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value != null && value !== "");
  return el("dl.facts", null, shown.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, value))));
}

/** What can be done with an object. */
export const acts = (...buttons) => el("div.buttons", null, buttons);

/** A button that opens the question of an act. */
export const act = (text, open, attributes) => button(text, open, attributes);

/** Something that is kept out of sight until it is asked for. */
export function folded(id, summary, ...content) {
  return el("details", { id }, el("summary", null, summary), content);
}

/** A value as JSON, for whoever wants all of it. */
export const json = (value) => el("pre", { tabindex: "0", role: "group", "aria-label": "JSON" }, JSON.stringify(value, null, 2));

/** What is said where there is nothing. */
export const nothing = (text) => el("p.quiet", null, text);

/** A secret that is on the page, and seen at a press. */
export function secret(text, what) {
  const shown = el("code", null, `…${text.slice(-4)}`);
  const show = button(`Show ${what}`, () => {
    shown.textContent = text;
    show.remove();
  });
  return el("span.secret", null, shown, " ", show);
}

/** Amounts by currency, in a line; `write` writes one. */
export function sums(amounts, write) {
  const entries = Object.entries(amounts ?? {}).filter(([, amount]) => amount !== 0);
  return entries.length === 0 ? "—" : entries.map(([currency, amount]) => write(amount, currency)).join(" · ");
}
