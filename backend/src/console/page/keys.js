// The console by keyboard alone.
import { dialog } from "./act.js";
import { el } from "./dom.js";

/** How long after `g` its letter may come. */
const LETTER_MS = 1500;

/** Listens; `pages` are `{letter, title, path}`, `doing` what the keys lead to. */
export function listen(pages, doing) {
  let goesUntil = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]") || !doing.isSignedIn()) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const page = Date.now() < goesUntil && pages.find(({ letter }) => letter === event.key);
    goesUntil = 0;
    if (page) doing.go(page.path);
    else if (event.key === "g") goesUntil = Date.now() + LETTER_MS;
    else if (event.key === "/") doing.search();
    else if (event.key === "?") help(pages);
    else if (event.key === "j") walk(1);
    else if (event.key === "k") walk(-1);
    else if (event.key === "x") tick();
    else if (event.key === "Escape") document.activeElement?.blur();
    else return;
    event.preventDefault();
  });
}

const isTyping = (target) => target.matches?.("input:not([type=checkbox]):not([type=radio]), textarea, select") ?? false;

/** To the next row of the list, or the one before it: it has the focus, so that Enter follows it. */
function walk(step) {
  const rows = [...document.querySelectorAll("main [data-row]")];
  const at = rows.findIndex((row) => row.closest("tr, li")?.contains(document.activeElement));
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1);
  rows[next]?.focus();
  rows[next]?.scrollIntoView({ block: "nearest" });
}

/** The box before the row that has the focus. */
const tick = () => document.activeElement?.closest("tr")?.querySelector(".tick input")?.click();

const KEYS = [
  ["/", "search"],
  ["j k", "next row, row before"],
  ["Enter", "opens the row"],
  ["x", "ticks the row"],
  ["Esc", "closes, leaves a field"],
  ["Ctrl Enter", "confirms, within a text"],
  ["?", "these keys"],
];

export function help(pages) {
  const row = ([keys, what]) => el("div", null, el("dt", null, keys.split(" ").map((key) => el("kbd", null, key))), el("dd", null, what));
  const ways = pages.map(({ letter, title }) => [`g ${letter}`, title]);
  const close = el("form.buttons", { method: "dialog" }, el("button", null, "Close"));
  dialog("Keys", el("dl.keys", null, [...KEYS, ...ways].map(row)), close);
}
