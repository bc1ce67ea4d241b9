// Events processed once more: always the dry run first, then that same set of them.
import { ask } from "./act.js";
import { post } from "./api.js";
import { rows } from "./changes.js";
import { button, el } from "./dom.js";
import { count, words } from "./format.js";
import { badge, part, panel, to } from "./object.js";
import { daysAgo, ofField, toField } from "./time.js";

const ROUTE = "/api/stripe/webhooks/replay";

/** As many as are named at once. */
const NAMED_MAX = 100;

/** So few at once that it is seen how far it is. */
const AT_ONCE = 25;

/** More than so many are replayed only by whoever types how many they are. */
const TYPED_FROM = 100;

/** So many are shown with their rows; of the others there is only what would come of them. */
const SHOWN_MAX = 100;

/** It shows what was asked for, until something else is. */
export const asks = false;

export async function load(page) {
  const id = page.query.get("id");
  if (id && !page.state.run) dryRun(page, [id]);
  return page.state;
}

export const parts = (state, page) => [
  part("form", null, () => form(page)),
  state.run && panel("dry", "Dry run", view(state.run), () => dry(state.run, page)),
  state.replay && panel("done", "Replay", view(state.replay), () => done(state.replay)),
];

/** What of a run is seen: rows of hundreds of events need not be compared. */
const view = ({ results, matched, isDone, error }) => [results.length, matched, isDone, error];

function form(page) {
  const ids = el("textarea", { id: "replay-ids", name: "ids", rows: 3, spellcheck: "false" });
  ids.value = page.query.get("id") ?? "";
  const time = (name, value) => el("input", { id: `replay-${name}`, name, type: "datetime-local", value: toField(value) });
  const [from, to] = [time("from", daysAgo(1)), time("to", daysAgo(0))];
  const type = el("input", { id: "replay-type", name: "type", type: "text", placeholder: "any", autocomplete: "off" });
  const label = (input, text) => el("p.field", null, el("label", { for: input.id }, text), input);
  const failure = el("p.failure", { role: "alert" });
  const named = el("form", null, label(ids, "Events, by their ids"), el("div.buttons", null, el("button.main", { type: "submit" }, "Dry run of these")));
  named.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = [...new Set(ids.value.split(/[\s,;]+/).filter(Boolean))];
    failure.textContent = wanted.length === 0 ? "Name at least one event." : "";
    if (wanted.length > 0) dryRun(page, wanted);
  });
  const ranged = el("form", null, label(from, "Received from"), label(to, "Before"), label(type, "Type"), el("div.buttons", null, el("button", { type: "submit" }, "Dry run of this range")));
  ranged.addEventListener("submit", (event) => {
    event.preventDefault();
    const range = { from: ofField(from.value), to: ofField(to.value), type: type.value.trim() || undefined };
    failure.textContent = range.from && range.to ? "" : "Say from when, and before when.";
    if (range.from && range.to) dryRun(page, range);
  });
  return [
    el("p", null, "A replay has an event processed once more, in the way of a delivery: it finds what is missing and changes nothing else. A dry run shows what that would be, and changes nothing."),
    el("div.columns", null, named, ranged),
    failure,
  ];
}

/** Asks what would come of it: of named events, or of those of a range, page by page. */
async function dryRun(page, selection) {
  const run = { results: [], matched: null, isDone: false, error: null };
  Object.assign(page.state, { run, replay: null });
  await page.redraw();
  const isCurrent = () => page.state.run === run;
  await follow(run, page, isCurrent, async () => {
    if (Array.isArray(selection)) {
      run.matched = selection.length;
      for (const eventIds of chunks(selection, NAMED_MAX)) take(run, page, await patiently({ eventIds, dryRun: true }, isCurrent));
      return;
    }
    let cursor;
    do {
      const answer = await patiently({ ...selection, dryRun: true, cursor }, isCurrent);
      // Counted once: later pages begin later.
      run.matched ??= answer.matched;
      take(run, page, answer);
      cursor = answer.hasMore ? answer.nextCursor : null;
    } while (cursor && isCurrent());
  });
}

async function replay(page, eventIds, reason) {
  const run = { results: [], matched: eventIds.length, isDone: false, error: null };
  page.state.replay = run;
  const isCurrent = () => page.state.replay === run;
  await follow(run, page, isCurrent, async () => {
    for (const some of chunks(eventIds, AT_ONCE)) {
      if (!isCurrent()) return;
      take(run, page, await patiently({ eventIds: some, reason }, isCurrent));
    }
  });
  if (run.error === null) page.announce(`Replayed ${count(run.results.length, "event")}.`);
}

function take(run, page, answer) {
  run.results.push(...answer.results.filter(({ eventId }) => eventId !== null));
  page.redraw();
}

/** Does `work`, and keeps what went wrong with it. */
async function follow(run, page, isCurrent, work) {
  try {
    await work();
  } catch (error) {
    run.error = error.text ?? String(error);
  }
  run.isDone = true;
  if (isCurrent()) page.redraw();
}

/** Asks again once that is allowed: there is a limit of requests a minute. */
async function patiently(body, isCurrent) {
  for (;;) {
    try {
      return await post(ROUTE, body);
    } catch (error) {
      if (error.status !== 429 || !isCurrent()) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfterSeconds ?? 1)));
    }
  }
}

const chunks = (list, size) => Array.from({ length: Math.ceil(list.length / size) }, (_, index) => list.slice(index * size, (index + 1) * size));

/** How far it is, and what it came to so far. */
function progress({ results, matched, isDone, error }, what) {
  const outcomes = new Map();
  for (const { outcome } of results) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const bar = el("progress", { "aria-label": what, max: matched || 1, value: results.length });
  return [
    el("p", null, isDone ? null : bar, isDone ? `${count(results.length, "event")}.` : ` ${results.length} of ${matched ?? "…"}`, " ", [...outcomes].flatMap(([outcome, number]) => [badge(outcome), ` ${number} `])),
    error && el("p.notice.bad", { role: "alert" }, error),
  ];
}

function dry(run, page) {
  const { results, isDone, error } = run;
  const ids = results.map(({ eventId }) => eventId);
  const isReady = isDone && error === null && ids.length > 0 && !page.state.replay;
  const withRows = results.filter(({ changes }) => changes?.length > 0);
  const changed = withRows.reduce((sum, { changes }) => sum + changes.length, 0);
  return el(
    "div",
    null,
    progress(run, "Dry run"),
    isDone && el("p", null, changed === 0 ? "Nothing would change." : `${count(withRows.length, "event")} would change ${count(changed, "row")}.`),
    isReady && el("div.buttons", null, button(`Replay ${ids.length === 1 ? "this event" : `these ${ids.length} events`}…`, () => confirm(page, ids, changed), { kind: "main", id: "replay" })),
    el("ul.results", null, [...withRows, ...results.filter(({ changes }) => !(changes?.length > 0))].slice(0, SHOWN_MAX).map(result)),
    results.length > SHOWN_MAX && el("p.quiet", null, `And ${results.length - SHOWN_MAX} more.`),
  );
}

const result = ({ eventId, outcome, changes }) =>
  el("li", null, to(`/console/events/${encodeURIComponent(eventId)}`, el("code", null, eventId)), " ", badge(outcome), changes && rows(changes));

function confirm(page, ids, changed) {
  ask({
    title: ids.length === 1 ? "Replay the event" : `Replay ${ids.length} events`,
    says: changed === 0 ? "By the dry run nothing will change." : `By the dry run ${count(changed, "row")} will change. What happens meanwhile may make a difference.`,
    typed: ids.length > TYPED_FROM ? String(ids.length) : undefined,
    confirm: "Replay",
    run: async ({ reason }) => void replay(page, ids, reason),
  });
}

const done = (run) => el("div", null, progress(run, "Replay"), run.isDone && el("ul.results", null, run.results.slice(0, SHOWN_MAX).map(result)));
