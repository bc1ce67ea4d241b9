// Tickets: what customers ask.
import { get } from "./api.js";
import { asked, filters, listed } from "./list.js";
import { badge, code } from "./object.js";
import { when } from "./time.js";

const FIELDS = [
  { name: "status", label: "Status", options: ["open", "answered", "closed"] },
  { name: "q", label: "Ticket", hint: "number, id, licence, user" },
];

export const load = ({ query }) => get("/api/admin/support", asked(query, FIELDS));

export const parts = (answer, page) => [
  filters(FIELDS, page),
  listed(answer, page, {
    label: "Tickets",
    key: (ticket) => ticket.id,
    href: (ticket) => `/console/support/${encodeURIComponent(ticket.id)}`,
    empty: "No ticket is so.",
    columns: [
      { name: "Subject", of: (ticket) => `#${ticket.number} ${ticket.subject}` },
      { name: "Status", of: (ticket) => badge(ticket.status, ticket.status === "open" ? "warn" : undefined) },
      { name: "Priority", of: (ticket) => badge(ticket.priority, ticket.priority === "high" ? "bad" : "plain") },
      { name: "Category", of: (ticket) => ticket.category ?? "—" },
      { name: "User", kind: "id", of: (ticket) => code(ticket.userId) },
      { name: "Changed", kind: "time", of: (ticket) => when(ticket.updatedAt) },
    ],
  }),
];
