// What a person should look at: by where it comes from and why; tried again, or resolved with a note.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { button, el } from "./dom.js";
import { count, words } from "./format.js";
import { asked, filters, listed, tickAll } from "./list.js";
import { badge, code, panel, part, to } from "./object.js";
import { age, span, when } from "./time.js";

const FIELDS = [
  { name: "status", label: "Status", options: ["open", "retrying", "resolved"] },
  { name: "source", label: "Source", options: ["webhook", "delivery", "desktop", "notification"] },
  { name: "type", label: "Type", hint: "invoice.paid" },
  { name: "q", label: "Id", hint: "dl_…, evt_…" },
];

export async function load({ query }) {
  const [list, stats] = await Promise.all([get("/api/dlq", asked(query, FIELDS)), get("/api/dlq", { stats: true })]);
  return { list, stats };
}

const key = (letter) => letter.id;

export function parts({ list, stats }, page) {
  const ticks = (page.state.ticks ??= new Set());
  const here = list.data.filter((letter) => letter.status !== "resolved").map(key);
  for (const id of ticks) if (!here.includes(id)) ticks.delete(id);
  const redraw = () => page.redraw();
  const number = ticks.size > 0 ? ` ${ticks.size}` : "";
  const unticked = { "aria-disabled": ticks.size === 0 ? "true" : null };
  return [
    panel("stats", "Open", stats, () => ofStats(stats)),
    filters(FIELDS, page),
    part("ticked", [[...ticks], here], () => [
      el(
        "div.buttons",
        null,
        here.length > 0 && tickAll(list.data.filter(({ status }) => status !== "resolved"), key, ticks, redraw),
        button(`Retry${number}…`, () => ticks.size > 0 && retry([...ticks], page), { id: "retry-ticked", ...unticked }),
        button(`Resolve${number}…`, () => ticks.size > 0 && resolve([...ticks], page), { id: "resolve-ticked", ...unticked }),
      ),
    ]),
    listed({ ...list, ticked: [...ticks] }, page, {
      label: "Dead letters",
      key,
      ticks,
      onTick: redraw,
      href: (letter) => (letter.source === "webhook" ? `/console/events/${encodeURIComponent(letter.eventId)}` : `/console/dead-letters?q=${letter.id}`),
      empty: "There is no such dead letter.",
      columns: [
        { name: "Type", of: (letter) => letter.type },
        { name: "Source", of: (letter) => letter.source },
        { name: "Status", of: (letter) => badge(letter.status, letter.status === "open" ? "bad" : undefined) },
        { name: "Why", of: reason },
        { name: "Tries", kind: "num", of: (letter) => letter.attempts },
        { name: "Age", kind: "num", of: (letter) => age(letter.createdAt) },
        { name: "Last failed", kind: "time", of: (letter) => when(letter.lastFailedAt) },
        { name: "Of", kind: "id", of },
      ],
    }),
  ];
}

const reason = (letter) =>
  letter.status === "resolved" ? `${words(letter.reason)}; resolved by ${letter.resolvedBy ?? "itself"}${letter.note ? `: ${letter.note}` : ""}` : words(letter.reason);

/** Whose it is, as near as is known. */
function of({ stripeCustomerId, licenseId, eventId }) {
  if (stripeCustomerId) return to(`/console/customers/${encodeURIComponent(stripeCustomerId)}`, el("code", null, stripeCustomerId));
  return licenseId ? to(`/console/licenses/${encodeURIComponent(licenseId)}`, el("code", null, licenseId)) : code(eventId);
}

function ofStats({ open, oldestOpenSeconds, bySource, byReason }) {
  const chips = (numbers, href) => Object.entries(numbers).map(([name, number]) => el("li", null, href ? to(href(name), words(name)) : words(name), ` ${number}`));
  if (open === 0) return el("p", null, badge("none", "good"), " No dead letter is open.");
  return el(
    "div",
    null,
    el("p", null, `${count(open, "dead letter")}`, oldestOpenSeconds != null && `, the oldest of an event for ${span(oldestOpenSeconds)}`, "."),
    el("ul.chips", { "aria-label": "By source" }, chips(bySource, (source) => `/console/dead-letters?status=open&source=${source}`)),
    el("ul.chips", { "aria-label": "By reason" }, chips(byReason)),
  );
}

/** Does it for each, and says how many went well; the first that does not ends it, and says why. */
async function each(ids, act) {
  let done = 0;
  for (const id of ids) {
    try {
      await act(id);
      done += 1;
    } catch (error) {
      // Somebody else was first.
      if (error.code === "already_resolved") continue;
      if (done > 0) error.message = `${done} of ${ids.length} are done; then ${error.message}`;
      throw error;
    }
  }
  return done;
}

function retry(ids, page) {
  ask({
    title: ids.length === 1 ? "Retry the dead letter" : `Retry ${ids.length} dead letters`,
    says: [
      "What failed is tried again at once: an event of Stripe's in the way of a delivery, an event of a licence on its machine's stream, a message by its channel.",
      ids.length === 1 ? el("p", null, code(ids[0])) : null,
    ].filter(Boolean),
    confirm: "Retry",
    run: ({ reason }) => each(ids, (id) => post(at("/api/dlq/retry", id), { reason })),
    done: (number) => page.changed(`Retried ${count(number, "dead letter")}.`),
  });
}

function resolve(ids, page) {
  ask({
    title: ids.length === 1 ? "Resolve the dead letter" : `Resolve ${ids.length} dead letters`,
    says: ["Nothing is tried. It is off the queue, with what you write here; what it would have changed stays as it is.", ids.length === 1 ? el("p", null, code(ids[0])) : null].filter(Boolean),
    fields: [{ name: "note", label: "Note", type: "long", required: true, maxlength: 1000, hint: "Kept with the dead letter and in the audit trail." }],
    reason: false,
    confirm: "Resolve",
    run: ({ note }) => each(ids, (id) => post(at("/api/dlq/resolve", id), { note })),
    done: (number) => page.changed(`Resolved ${count(number, "dead letter")}.`),
  });
}
