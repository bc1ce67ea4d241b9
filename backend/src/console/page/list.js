// A list's page: what is looked for, the rows, and the way to the next of them. All of it stands in the address, so that it can
// be passed on, come back to, and asked for again.
import { button, el } from "./dom.js";
import { words } from "./format.js";
import { nothing, panel, part } from "./object.js";
import { ofField, toField } from "./time.js";

/** Rows on a page. */
export const LIMIT = 50;

/** What the address asks for of these fields, for a route. */
export function asked(query, fields) {
  const values = fields.map(({ name }) => [name, query.get(name)]);
  return { ...Object.fromEntries(values), limit: LIMIT, cursor: query.get("cursor") };
}

/** The form of a list: `fields` are `{name, label, options | type}`. What is chosen counts at once, what is typed with Enter. */
export function filters(fields, page) {
  return part("filters", [...page.query], () => {
    const form = el("form.filters", { role: "search", "aria-label": "What is listed" }, fields.map((one) => field(one, page.query)));
    const go = () => {
      const values = fields.map((one) => [one.name, read(one, form.elements[one.name].value)]);
      const query = new URLSearchParams(values.filter(([, value]) => value));
      page.go(`${page.path}${query.size > 0 ? `?${query}` : ""}`, { keepFocus: true });
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      go();
    });
    form.addEventListener("change", (event) => event.target.tagName === "SELECT" && go());
    form.append(el("button", { type: "submit" }, "Look"));
    return [form];
  });
}

function field({ name, label, options, type = "search", hint }, query) {
  const id = `filter-${name}`;
  const value = query.get(name) ?? "";
  if (options) {
    const all = el("option", { value: "" }, "any");
    const known = options.map((one) => el("option", { value: one, selected: one === value }, words(one)));
    return el("label", { for: id }, label, el("select", { id, name }, all, known));
  }
  const shown = type === "datetime-local" ? toField(value) : value;
  return el("label", { for: id }, label, el("input", { id, name, type, value: shown, placeholder: hint, autocomplete: "off" }));
}

const read = ({ type }, value) => (type === "datetime-local" ? ofField(value) : value.trim());

/**
 * A table. A column is `{name, of, kind}`; the first one's text is the link to `href(row)`, which the keys walk along. `ticks`, a
 * set of keys, puts a box before each row.
 */
export function table({ label, columns, rows, href, key, empty, ticks, onTick, act }) {
  if (rows.length === 0) return nothing(empty ?? "There are none.");
  const head = columns.map(({ name, kind }) => el(`th${kind ? `.${kind}` : ""}`, { scope: "col" }, name));
  const body = rows.map((row) => {
    const cells = columns.map(({ name, of, kind }, index) => {
      const content = index > 0 ? shortened(of(row)) : of(row);
      const shown = index === 0 && href ? el("a.row", { href: href(row), id: `row-${key(row)}`, "data-row": true }, content) : content;
      return el(`td${kind ? `.${kind}` : ""}`, { "data-label": name }, shown);
    });
    const box = ticks && el("td.tick", null, tick(row, { label, key, ticks, onTick }));
    const last = act && el("td.act", null, act(row));
    return el("tr", null, box, cells, last);
  });
  const first = ticks && el("th.tick", { scope: "col" }, el("span.unseen", null, "Ticked"));
  const last = act && el("th.act", { scope: "col" }, el("span.unseen", null, "What can be done"));
  return el(
    "div.scroll",
    null,
    el("table", { "aria-label": label }, el("thead", null, el("tr", null, first, head, last)), el("tbody", null, body)),
  );
}

/** Longer ids than these are shown by their begin and their end, which tell ours apart: they begin with the time. */
const ID_CHARACTERS_MAX = 30;

function shortened(content) {
  if (!(content instanceof Element)) return content;
  for (const code of [content, ...content.querySelectorAll("code")].filter(({ tagName }) => tagName === "CODE")) {
    const text = code.textContent;
    if (text.length <= ID_CHARACTERS_MAX) continue;
    code.title = text;
    code.textContent = `${text.slice(0, 8)}…${text.slice(-8)}`;
  }
  return content;
}

function tick(row, { key, ticks, onTick }) {
  const id = key(row);
  const box = el("input", { type: "checkbox", id: `tick-${id}`, "aria-label": `Tick ${id}` });
  box.checked = ticks.has(id);
  box.addEventListener("change", () => {
    if (box.checked) ticks.add(id);
    else ticks.delete(id);
    onTick?.();
  });
  return box;
}

/** The rows of a list's answer, and the way to the next page of it. */
export function listed(answer, page, options) {
  const isFirst = !page.query.has("cursor");
  return part("list", answer, () => [
    table({ rows: answer.data, ...options }),
    el(
      "nav.pages",
      { "aria-label": "Pages of the list" },
      isFirst ? null : el("a", { href: address(page, null), id: "first-page" }, "Newest"),
      answer.hasMore ? el("a", { href: address(page, answer.nextCursor), id: "next-page" }, "Older") : null,
    ),
  ]);
}

function address(page, cursor) {
  const query = new URLSearchParams(page.query);
  if (cursor === null) query.delete("cursor");
  else query.set("cursor", cursor);
  return `${page.path}${query.size > 0 ? `?${query}` : ""}`;
}

/** A list within an object's page: at most what came with the object. */
export function sublist(id, title, rows, options) {
  return panel(id, title, rows, () => table({ label: title, rows, ...options }));
}

/** All rows at once. */
export const tickAll = (rows, key, ticks, redraw) =>
  button(rows.every((row) => ticks.has(key(row))) ? "Tick none" : "Tick all", () => {
    const isFull = rows.every((row) => ticks.has(key(row)));
    for (const row of rows) isFull ? ticks.delete(key(row)) : ticks.add(key(row));
    redraw();
  });
