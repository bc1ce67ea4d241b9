// Rows before and after, with what changed of them marked.
import { el } from "./dom.js";
import { nothing } from "./object.js";

/** The fields of a row that a change gives another value: `[name, before, after]`. */
export function changedFields({ before, after }) {
  const names = new Set([...Object.keys(before ?? {}), ...Object.keys(after)]);
  return [...names].map((name) => [name, before?.[name], after[name]]).filter(([, was, is]) => JSON.stringify(was) !== JSON.stringify(is));
}

const value = (one) => (one === undefined ? "" : typeof one === "string" ? one : JSON.stringify(one));

/** More rows than these are folded, each of them. */
const UNFOLDED_MAX = 20;

/** The rows that an event would change. */
export function rows(changes) {
  if (changes.length === 0) return nothing("It would change no row: what it says is in effect.");
  return el("div.changes", null, changes.map((change) => row(change, changes.length <= UNFOLDED_MAX)));
}

function row({ table, key, before, after }, open) {
  const isNew = before === null;
  // Of a new row what is nothing says nothing.
  const fields = isNew ? Object.entries(after).filter(([, is]) => is !== null).map(([name, is]) => [name, undefined, is]) : changedFields({ before, after });
  const line = ([name, was, is]) =>
    el("tr", null, el("th", { scope: "row" }, name), !isNew && el("td", null, was === undefined ? "" : el("del", null, value(was))), el("td", null, el("ins", null, value(is))));
  const head = ["Field", !isNew && "Before", isNew ? "New" : "After"].filter(Boolean).map((name) => el("th", { scope: "col" }, name));
  return el(
    "details",
    { open },
    el("summary", null, el("strong", null, table), " ", el("code", null, key), isNew ? " made" : ` ${fields.length} of ${Object.keys(after).length} fields change`),
    el("div.scroll", { tabindex: "0", role: "group", "aria-label": `${table} ${key}` }, el("table.fields", null, el("thead", null, el("tr", null, head)), el("tbody", null, fields.map(line)))),
  );
}
