// What operators did and looked at, for good.
import { get } from "./api.js";
import { el } from "./dom.js";
import { asked, filters, listed } from "./list.js";
import { code, folded, json, to } from "./object.js";
import { when } from "./time.js";

const FIELDS = [
  { name: "actor", label: "Who", hint: "console:ada" },
  { name: "action", label: "What", hint: "license.revoke" },
  { name: "target", label: "To", hint: "id" },
  { name: "from", label: "From", type: "datetime-local" },
  { name: "to", label: "Before", type: "datetime-local" },
];

export const load = ({ query }) => get("/api/admin/audit", asked(query, FIELDS));

/** The page of what was acted on, where there is one. */
const PAGE_OF = { customer: "customers", license: "licenses", webhook_event: "events", pod: "pods", ticket: "support", support_ticket: "support", release: "releases" };

export const parts = (answer, page) => [
  filters(FIELDS, page),
  listed(answer, page, {
    label: "Acts",
    key: (one) => one.id,
    empty: "No operator has done such a thing.",
    columns: [
      { name: "What", of: (one) => el("strong", null, one.action) },
      { name: "Who", of: (one) => (one.claimedName ? `${one.actor} (${one.claimedName})` : one.actor) },
      { name: "To", kind: "id", of: target },
      { name: "Why", of: (one) => one.reason ?? "" },
      { name: "When", kind: "time", of: (one) => when(one.at) },
      { name: "Request", kind: "id", of: (one) => code(one.requestId) },
      { name: "Rows", of: rows },
    ],
  }),
];

function target({ target: { type, id } }) {
  const shown = el("code", null, id);
  return el("span", null, `${type} `, PAGE_OF[type] ? to(`/console/${PAGE_OF[type]}/${encodeURIComponent(id)}`, shown) : shown);
}

const rows = ({ id, before, after }) =>
  before === null && after === null ? "" : folded(`rows-${id}`, "rows", el("div", null, json({ before, after })));
