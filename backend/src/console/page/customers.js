// Customers: by an id, an address, the start of a name; by tier and status.
import { get } from "./api.js";
import { el } from "./dom.js";
import { money } from "./format.js";
import { asked, filters, listed } from "./list.js";
import { badge, code } from "./object.js";
import { when } from "./time.js";

const FIELDS = [
  { name: "q", label: "Customer", hint: "address, id, start of a name" },
  { name: "tier", label: "Tier", hint: "pro" },
  { name: "status", label: "Subscription", options: ["trialing", "active", "past_due", "unpaid", "paused", "incomplete", "canceled", "incomplete_expired"] },
];

export const load = ({ query }) => get("/api/admin/customers", asked(query, FIELDS));

export const parts = (answer, page) => [
  filters(FIELDS, page),
  listed(answer, page, {
    label: "Customers",
    key: (customer) => customer.stripeCustomerId,
    href: (customer) => `/console/customers/${encodeURIComponent(customer.stripeCustomerId)}`,
    empty: "No customer is so.",
    columns: [
      { name: "Customer", of: (customer) => customer.name ?? customer.email ?? customer.stripeCustomerId },
      { name: "Address", of: (customer) => customer.email ?? el("span.quiet", null, "—") },
      { name: "Tier", of: (customer) => customer.tier },
      { name: "Subscription", of: (customer) => badge(customer.status) },
      { name: "Licence", of: (customer) => badge(customer.licenseStatus) },
      { name: "Paid", kind: "num", of: (customer) => (customer.currency ? money(customer.totalPaid, customer.currency) : "—") },
      { name: "Period ends", kind: "time", of: (customer) => when(customer.currentPeriodEnd) },
      { name: "Id", kind: "id", of: (customer) => code(customer.stripeCustomerId) },
    ],
  }),
];
