// One ticket: what was written, and an answer to it.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { el } from "./dom.js";
import { act, acts, badge, code, facts, panel, part, to } from "./object.js";
import { when } from "./time.js";

const path = (id) => at("/api/admin/support", id);

export const load = ({ id }) => get(path(id));

export function parts(ticket, page) {
  const { messages, ...head } = ticket;
  return [part("head", head, () => ofHead(head, page)), panel("thread", "What was written", messages, () => el("ol.thread", null, messages.map(written)))];
}

function ofHead(ticket, page) {
  return [
    el("h2.title", { id: "head-title", tabindex: "-1" }, `#${ticket.number} ${ticket.subject}`, " ", badge(ticket.status, ticket.status === "open" ? "warn" : undefined)),
    facts([
      ["Ticket", code(ticket.id)],
      ["User", to(`/console/customers?q=${encodeURIComponent(ticket.userId)}`, el("code", null, ticket.userId))],
      ["Licence", ticket.licenseId && to(`/console/licenses/${encodeURIComponent(ticket.licenseId)}`, el("code", null, ticket.licenseId))],
      ["Category", ticket.category],
      ["Priority", ticket.priority],
      ["Opened", when(ticket.createdAt)],
    ]),
    acts(act("Answer…", () => answer(page), { id: "answer", kind: "main" }), act("Note…", () => note(page), { id: "note" })),
  ];
}

/** Text is shown as text. */
const written = ({ at: time, from, text, internal }) =>
  el(`li.${internal ? "internal" : from}`, null, el("p.quiet", null, internal ? "A note, for operators" : from === "operator" ? "We" : "The customer", " ", when(time)), el("p.text", null, text));

function answer(page) {
  ask({
    title: "Answer the ticket",
    says: "The customer is told of it, and sees what you write.",
    fields: [
      { name: "message", label: "Answer", type: "long", required: true, maxlength: 10_000, rows: 8 },
      { name: "status", label: "The ticket is then", options: ["answered", "open", "closed"], value: "answered" },
    ],
    reason: false,
    confirm: "Send the answer",
    run: ({ message, status }) => post(`${path(page.id)}/respond`, { message, status }),
    done: () => page.changed("The answer is sent."),
  });
}

function note(page) {
  ask({
    title: "Note something",
    says: "Only operators see it.",
    fields: [{ name: "message", label: "Note", type: "long", required: true, maxlength: 10_000, rows: 5 }],
    reason: false,
    confirm: "Keep the note",
    run: ({ message }) => post(`${path(page.id)}/respond`, { message, internal: true }),
    done: () => page.changed("The note is kept."),
  });
}
