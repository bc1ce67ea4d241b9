// One event from end to end: where it was when, what it did, and what is missing.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { button, el } from "./dom.js";
import { words } from "./format.js";
import { table } from "./list.js";
import { act, acts, badge, code, facts, json, nothing, panel, part, to } from "./object.js";
import { ms, gap, when } from "./time.js";
import { missing, moments } from "./way.js";

const path = (id) => at("/api/admin/events", id);

export const load = ({ id }) => get(path(id));

export function parts(data, page) {
  const { event, relays, attempts, effects, changes, licenseEvents, messages, deadLetter } = data;
  return [
    part("head", [event, deadLetter], () => head(data, page)),
    panel("missing", "What is missing", missing(data), () => ofMissing(data, page)),
    panel("way", "Its way", moments(data), () => ofWay(data)),
    panel("relays", "Relays' journals", relays, () => ofRelays(relays)),
    panel("attempts", "The backend's attempts", attempts, () => ofAttempts(attempts)),
    panel("effects", "Rows changed", [effects, changes], () => ofEffects(effects, changes)),
    panel("log", "The licence's log, and what apps said", licenseEvents, () => ofLog(licenseEvents)),
    messages && panel("messages", "Messages", messages, () => ofMessages(messages)),
    part("payload", page.state.payload, () => ofPayload(page)),
  ];
}

function head({ event, deadLetter }, page) {
  const replay = `/console/replay?id=${encodeURIComponent(page.id)}`;
  return [
    el("h2.title", { id: "head-title", tabindex: "-1" }, event?.type ?? "Only relays know of it", " ", badge(event?.status ?? "not here", event ? undefined : "warn")),
    facts([
      ["Event", code(page.id)],
      ["API version", event?.apiVersion],
      ["Request", event?.requestId && code(event.requestId)],
      ["Attempts", event?.attempts],
      ["Next attempt", event?.nextAttemptAt && when(event.nextAttemptAt)],
      ["Why", event?.reason && words(event.reason)],
      ["Last error", event?.lastError],
      ["Dead letter", deadLetter && to(`/console/dead-letters?q=${deadLetter.id}`, `${deadLetter.id}, ${deadLetter.status}`)],
    ]),
    acts(
      act("Redeliver…", () => redeliver(page), { id: "redeliver" }),
      event && to(replay, "Replay, dry run first"),
      deadLetter && deadLetter.status !== "resolved" && act("Retry…", () => retry(page, deadLetter.id, RETRY), { id: "retry" }),
    ),
  ];
}

function redeliver(page) {
  ask({
    title: "Redeliver the event",
    says: "Every relay that holds it delivers it to the backend again, confirmed or not. What it changed already, it does not change twice.",
    confirm: "Redeliver",
    run: ({ reason }) => post(`${path(page.id)}/redeliver`, { reason }),
    done: ({ relays }) => page.changed(relays.length === 0 ? "No relay is known here." : relays.map(said).join(" ")),
  });
}

const said = ({ relay, reachable, outcome }) => (reachable ? `${relay}: ${words(outcome ?? "unknown")}.` : `${relay} did not answer.`);

/** What trying a dead letter again is, by what it is of. */
const RETRY = {
  title: "Retry the event",
  says: "The event is tried again at once, in the way of a delivery. If it fails again, it stays a dead letter.",
  confirm: "Retry",
};
const SEND = {
  title: "Send it to its machine again",
  says: "It is sent again on its machine's stream, as it was. When that machine acknowledges it, its dead letter is resolved.",
  confirm: "Send it again",
};
const RESEND = {
  title: "Send the message again",
  says: "The message is sent again by its channel, to where its reader can be reached now. If that fails for good, it is a dead letter again.",
  confirm: "Send it again",
};

function retry(page, letter, what) {
  ask({
    ...what,
    run: ({ reason }) => post(at("/api/dlq/retry", letter), { reason }),
    done: ({ outcome }) => page.changed(`Retried: ${words(outcome)}.`),
  });
}

function ofMissing(data, page) {
  const found = missing(data);
  if (found.length === 0) return el("p", null, badge("complete", "good"), " Nothing is: each step is done.");
  const mend = {
    redeliver: () => act("Redeliver…", () => redeliver(page), { id: "mend-redeliver" }),
    retry: (letter) => act("Retry…", () => retry(page, letter, RETRY), { id: "mend-retry" }),
    send: (letter) => act("Send it again…", () => retry(page, letter, SEND), { id: `mend-${letter}` }),
    resend: (letter) => act("Send the message again…", () => retry(page, letter, RESEND), { id: `mend-${letter}` }),
    replay: () => to(`/console/replay?id=${encodeURIComponent(page.id)}`, "Replay, dry run first"),
    letters: () => to("/console/dead-letters?status=open", "Open dead letters"),
  };
  const offered = new Set();
  const line = ({ kind, text, act: what, letter }) => {
    const offer = what && `${what} ${letter ?? ""}`;
    const isNew = what && !offered.has(offer);
    offered.add(offer);
    return el("li", null, badge(kind, kind === "missing" ? "bad" : "warn"), " ", text, " ", isNew && mend[what](letter));
  };
  return el("ol.lines", null, found.map(line));
}

function ofWay(data) {
  const all = moments(data);
  const line = ({ at, what }, index) =>
    el("li", null, when(at), el("span.gap", null, index === 0 ? "" : gap(all[index - 1].at, at)), el("span", null, what));
  return el("ol.way", null, all.map(line));
}

function ofRelays(relays) {
  if (relays.length === 0) return nothing("No relay is known here: RELAY_ADMIN_URLS names their private listeners.");
  const state = (relay) => {
    if (!relay.reachable) return badge("silent", "bad");
    if (relay.confirmed === null) return badge("not in its journal", "plain");
    return relay.confirmed ? badge("confirmed") : badge("unconfirmed", "bad");
  };
  return table({
    label: "Relays' journals",
    rows: relays,
    key: (relay) => relay.relay,
    columns: [
      { name: "Relay", of: (relay) => relay.relay },
      { name: "State", of: state },
      { name: "Received", kind: "time", of: (relay) => when(relay.receivedAt) },
      { name: "Attempts", kind: "num", of: (relay) => relay.attempts ?? "—" },
      { name: "Bytes", kind: "num", of: (relay) => relay.bytes ?? "—" },
      { name: "Request", kind: "id", of: (relay) => code(relay.requestId) },
    ],
  });
}

const ofAttempts = (attempts) =>
  table({
    label: "Attempts",
    rows: attempts,
    key: (attempt) => attempt.at,
    empty: "The backend has not tried it.",
    columns: [
      { name: "When", kind: "time", of: (attempt) => when(attempt.at) },
      { name: "By", of: (attempt) => attempt.by },
      { name: "Outcome", of: (attempt) => badge(attempt.outcome) },
      { name: "Error", of: (attempt) => attempt.error ?? "" },
      { name: "Took", kind: "num", of: (attempt) => ms(attempt.durationMs) },
      { name: "Request", kind: "id", of: (attempt) => code(attempt.requestId) },
    ],
  });

/** The page that shows a row, where there is one. */
const PAGE_OF = { customers: "customers", licenses: "licenses", pods: "pods" };

function ofEffects(effects, changes) {
  const owner = ({ table, key }) => (PAGE_OF[table] ? to(`/console/${PAGE_OF[table]}/${encodeURIComponent(key)}`, el("code", null, key)) : el("code", null, key));
  const rows = table({
    label: "Rows changed",
    rows: effects,
    key: ({ table, key }) => `${table}-${key}`,
    empty: "It has changed no row.",
    columns: [
      { name: "Table", of: (effect) => effect.table },
      { name: "Row", kind: "id", of: owner },
      { name: "Change", of: (effect) => effect.change },
    ],
  });
  const line = ({ change, from, to: now }) => el("li", null, el("strong", null, words(change)), ` ${from ?? "none"} → ${now ?? "none"}`);
  return el("div", null, changes.length > 0 && el("ul.lines", null, changes.map(line)), rows);
}

function ofLog(events) {
  const said = ({ machineId, status, acknowledgedAt, error }) =>
    el("li", null, badge(status), " ", code(machineId), " ", when(acknowledgedAt), error && ` ${error}`);
  return table({
    label: "The licence's log",
    rows: events,
    key: (told) => told.eventId,
    empty: "No app was to be told of it.",
    columns: [
      { name: "Type", of: (told) => told.type },
      { name: "Licence", kind: "id", of: (told) => to(`/console/licenses/${encodeURIComponent(told.licenseId)}`, el("code", null, told.licenseId)) },
      { name: "Event", kind: "id", of: (told) => code(told.eventId) },
      { name: "When", kind: "time", of: (told) => when(told.createdAt) },
      { name: "Apps said", of: (told) => (told.acknowledgements.length === 0 ? badge("nothing", "warn") : el("ul.lines", null, told.acknowledgements.map(said))) },
    ],
  });
}

const ofMessages = (messages) =>
  table({
    label: "Messages",
    rows: messages,
    key: (message) => message.id,
    empty: "Nobody was to be told of it.",
    columns: [
      { name: "Message", of: (message) => words(message.template) },
      { name: "Channel", of: (message) => message.channel },
      { name: "Status", of: (message) => badge(message.status) },
      { name: "Why", of: (message) => message.reason ?? message.lastError ?? "" },
      { name: "Sent", kind: "time", of: (message) => when(message.sentAt) },
      { name: "Id", kind: "id", of: (message) => code(message.id) },
    ],
  });

function ofPayload(page) {
  const show = async () => {
    try {
      const { event } = await get(path(page.id), { payload: true });
      page.state.payload = event?.payload ?? "The backend does not have it: `tollgate-relay journal show` does.";
      page.redraw();
    } catch (error) {
      page.announce(error.text);
    }
  };
  return [
    el("h2", { id: "payload-title", tabindex: "-1" }, "Payload"),
    page.state.payload === undefined
      ? el("p", null, button("Show the payload", show, { id: "show-payload" }), " ", el("span.quiet", null, "That you looked is put on record."))
      : payload(page.state.payload),
  ];
}

function payload(text) {
  try {
    return json(JSON.parse(text));
  } catch {
    return el("pre", { tabindex: "0", role: "group", "aria-label": "Payload" }, text);
  }
}
