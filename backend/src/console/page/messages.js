// What people were told, by which channel, and why not where they were not.
import { get } from "./api.js";
import { el } from "./dom.js";
import { words } from "./format.js";
import { asked, filters, listed } from "./list.js";
import { badge, code, to } from "./object.js";
import { when } from "./time.js";

const FIELDS = [
  { name: "status", label: "Status", options: ["queued", "sent", "skipped", "dead_lettered"] },
  { name: "channel", label: "Channel", options: ["email", "push"] },
  { name: "userId", label: "User" },
  { name: "template", label: "Template", hint: "payment_failed" },
];

export const load = ({ query }) => get("/api/admin/messages", asked(query, FIELDS));

export const parts = (answer, page) => [
  filters(FIELDS, page),
  listed(answer, page, {
    label: "Messages",
    key: (message) => message.id,
    empty: "No message is so.",
    columns: [
      { name: "Message", of: (message) => el("strong", null, words(message.template)) },
      { name: "Channel", of: (message) => message.channel },
      { name: "Status", of: (message) => badge(message.status) },
      { name: "Why", of: (message) => words(message.reason ?? message.lastError ?? "") },
      { name: "Tries", kind: "num", of: (message) => message.attempts },
      { name: "User", kind: "id", of: (message) => (message.userId ? to(`/console/customers?q=${encodeURIComponent(message.userId)}`, el("code", null, message.userId)) : code(null)) },
      { name: "Written", kind: "time", of: (message) => when(message.createdAt) },
      { name: "Sent", kind: "time", of: (message) => when(message.sentAt) },
      { name: "Of event", kind: "id", of: (message) => (message.eventId ? to(`/console/events/${encodeURIComponent(message.eventId)}`, el("code", null, message.eventId)) : code(null)) },
    ],
  }),
];
