// Events of Stripe's: by status, type, customer, an object that names none, and time.
import { get } from "./api.js";
import { el } from "./dom.js";
import { asked, filters, listed } from "./list.js";
import { badge, part, to } from "./object.js";
import { when } from "./time.js";

const FIELDS = [
  { name: "status", label: "Status", options: ["processed", "failed", "dead_lettered", "ignored"] },
  { name: "type", label: "Type", hint: "invoice.paid" },
  { name: "customer", label: "Customer", hint: "cus_…" },
  { name: "object", label: "Object of no customer", hint: "pi_…" },
  { name: "from", label: "From", type: "datetime-local" },
  { name: "to", label: "Before", type: "datetime-local" },
];

export const load = ({ query }) => get("/api/admin/events", asked(query, FIELDS));

export const COLUMNS = [
  { name: "Type", of: (event) => event.type },
  { name: "Status", of: (event) => badge(event.status) },
  { name: "Why", of: (event) => event.reason ?? event.lastError ?? "" },
  { name: "Tries", kind: "num", of: (event) => event.attempts },
  { name: "Received", kind: "time", of: (event) => when(event.receivedAt) },
  { name: "Event", kind: "id", of: (event) => el("code", null, event.id) },
];

export const OPTIONS = {
  label: "Events",
  columns: COLUMNS,
  key: (event) => event.id,
  href: (event) => `/console/events/${encodeURIComponent(event.id)}`,
  empty: "No event was received that is so.",
};

export const parts = (answer, page) => [
  filters(FIELDS, page),
  listed(answer, page, OPTIONS),
  part("more", [...page.query], () => [el("p.quiet", null, "Events that are old are removed; a relay's journal may still have them. ", to("/console/replay", "Replay a range"))]),
];
