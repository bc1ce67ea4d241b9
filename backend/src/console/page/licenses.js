// Licences: by an id, a whole key or an address, and by how they stand.
import { get } from "./api.js";
import { el } from "./dom.js";
import { asked, filters, listed } from "./list.js";
import { badge, code, to } from "./object.js";
import { when } from "./time.js";

const FIELDS = [
  { name: "q", label: "Licence", hint: "id, whole key, address" },
  { name: "status", label: "Status", options: ["active", "suspended", "expired", "revoked"] },
];

export const load = ({ query }) => get("/api/admin/licenses", asked(query, FIELDS));

export const parts = (answer, page) => [
  filters(FIELDS, page),
  listed(answer, page, {
    label: "Licences",
    key: (license) => license.id,
    href: (license) => `/console/licenses/${encodeURIComponent(license.id)}`,
    empty: "No licence is so.",
    columns: [
      { name: "Licence", of: (license) => el("code", null, license.id) },
      { name: "Status", of: (license) => badge(license.status) },
      { name: "Tier", of: (license) => license.tier },
      { name: "Seats", kind: "num", of: (license) => `${license.activations} of ${license.maxActivations}` },
      { name: "Key", kind: "id", of: (license) => el("code", null, `…${license.key.slice(-4)}`) },
      { name: "Expires", kind: "time", of: (license) => when(license.expiresAt) },
      { name: "Customer", kind: "id", of: (license) => (license.stripeCustomerId ? to(`/console/customers/${encodeURIComponent(license.stripeCustomerId)}`, el("code", null, license.stripeCustomerId)) : code(null)) },
    ],
  }),
];
