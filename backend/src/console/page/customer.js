// One customer: all that is theirs, what happened, and what can be done.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { el } from "./dom.js";
import { money, words } from "./format.js";
import { OPTIONS as EVENTS } from "./events.js";
import { table, sublist } from "./list.js";
import { machines } from "./machines.js";
import { act, acts, badge, code, facts, folded, nothing, panel, part, secret, sums, to } from "./object.js";
import { when } from "./time.js";

const path = (id) => at("/api/admin/customers", id);

export const load = ({ id }) => get(path(id));

export function parts(customer, page) {
  const { subscription, payments, licenses, apiKeys, changes, events, memberships, deadLetters, messages, tickets } = customer;
  return [
    part("head", [customer.name, customer.email, customer.tier, customer.userId, customer.deleted], () => head(customer, page)),
    panel("subscription", "Subscription", [subscription, customer.subscriptions], () => ofSubscription(customer)),
    panel("payments", "Payments", [payments, customer.defaultPaymentMethod], () => ofPayments(customer)),
    panel("licenses", "Licence", licenses, () => ofLicenses(licenses)),
    machines(customer.machines, licenses[0]?.id, page),
    sublist("events", "Newest events", events, EVENTS),
    sublist("changes", "History", changes, CHANGES),
    deadLetters.length > 0 && sublist("letters", "Dead letters", deadLetters, LETTERS),
    messages && sublist("messages", "Messages", messages, MESSAGES),
    tickets && sublist("tickets", "Tickets", tickets, TICKETS),
    sublist("memberships", "Pods", memberships, MEMBERSHIPS),
    sublist("keys", "API keys", apiKeys, KEYS),
  ];
}

function head(customer, page) {
  return [
    el("h2.title", { id: "head-title", tabindex: "-1" }, customer.name ?? customer.email ?? page.id, " ", el("span.badge.plain", null, customer.tier), customer.deleted && badge("deleted", "bad")),
    facts([
      ["Customer", code(page.id)],
      ["Address", customer.email],
      ["User", customer.userId ? code(customer.userId) : el("span.quiet", null, "none yet")],
      ["All events", to(`/console/events?customer=${encodeURIComponent(page.id)}`, "of this customer")],
    ]),
    acts(act("Sync with Stripe…", () => sync(page), { id: "sync" }), act("Link to a user…", () => link(page), { id: "link" })),
  ];
}

function sync(page) {
  ask({
    title: "Sync with Stripe",
    says: "Asks Stripe for the customer and its subscriptions, and takes in what is another there. Nothing is changed at Stripe.",
    confirm: "Sync",
    run: ({ reason }) => post(`${path(page.id)}/sync`, { reason }),
    done: ({ differences }) => page.changed(differences.length === 0 ? "All was as it is at Stripe." : `Taken in: ${differences.map(({ object, field }) => `${field} of ${object}`).join(", ")}.`),
  });
}

function link(page) {
  ask({
    title: "Link to a user",
    says: "Says whose this customer is, against whatever its objects at Stripe say. It is for good: nothing takes it back.",
    fields: [{ name: "userId", label: "The user's id", required: true, maxlength: 255 }],
    confirm: "Link for good",
    kind: "danger",
    run: ({ userId, reason }) => post(`${path(page.id)}/link`, { userId, reason }),
    done: () => page.changed("Linked."),
  });
}

function ofSubscription({ subscription, subscriptions }) {
  const others = Object.entries(subscriptions).filter(([id]) => id !== subscription?.stripeSubscriptionId);
  if (subscription === null) return nothing("There is none.");
  const { status, priceId, quantity, itemCount } = subscription;
  return el(
    "div",
    null,
    facts([
      ["Subscription", code(subscription.stripeSubscriptionId)],
      ["Status", badge(status)],
      ["Tier", subscription.tier ?? "no plan matches"],
      ["Price", code(priceId)],
      ["Quantity", itemCount > 1 ? `${quantity ?? "—"}, and ${itemCount - 1} more items` : quantity],
      ["Period", el("span", null, when(subscription.currentPeriodStart), " to ", when(subscription.currentPeriodEnd))],
      ["Trial ends", subscription.trialEnd && when(subscription.trialEnd)],
      ["Is to end", subscription.cancelScheduled ? when(subscription.cancelAt ?? subscription.currentPeriodEnd) : null],
      ["Ended", subscription.endedAt && when(subscription.endedAt)],
      ["Collection", subscription.collectionPaused ? "paused" : null],
    ]),
    others.length > 0 && folded("others", `${others.length} more`, el("ul.lines", null, others.map(([id, state]) => el("li", null, code(id), " ", badge(state))))),
  );
}

function ofPayments({ payments, defaultPaymentMethod: card }) {
  const open = Object.entries(payments.openInvoices);
  return el(
    "div",
    null,
    facts([
      ["Paid", sums(payments.totals, money)],
      ["Given back", Object.keys(payments.refunded).length > 0 ? sums(payments.refunded, money) : null],
      ["Pays with", card ? `${card.brand ?? "a payment method"} ${card.last4 ? `ending in ${card.last4}` : ""}` : "nothing known"],
    ]),
    open.length > 0 && el("ul.lines", null, open.map(([id, tries]) => el("li", null, badge("open", "bad"), " ", code(id), ` tried ${tries} ${tries === 1 ? "time" : "times"}`))),
    payments.paidInvoices.length > 0 && folded("paid", `${payments.paidInvoices.length} paid invoices`, el("ul.lines", null, payments.paidInvoices.map((id) => el("li", null, code(id))))),
  );
}

const ofLicenses = (licenses) =>
  table({
    label: "Licence",
    rows: licenses,
    key: (license) => license.id,
    href: (license) => `/console/licenses/${encodeURIComponent(license.id)}`,
    columns: [
      { name: "Licence", of: (license) => el("code", null, license.id) },
      { name: "Status", of: (license) => badge(license.status) },
      { name: "Tier", of: (license) => license.tier },
      { name: "Seats", kind: "num", of: (license) => `${license.activations} of ${license.maxActivations}` },
      { name: "Key", kind: "id", of: (license) => secret(license.key, "the key") },
      { name: "Expires", kind: "time", of: (license) => when(license.expiresAt) },
    ],
  });

const CHANGES = {
  key: (change) => change.id,
  columns: [
    { name: "When", kind: "time", of: (change) => when(change.at) },
    { name: "What", of: (change) => words(change.change) },
    { name: "From", of: (change) => change.from ?? "—" },
    { name: "To", of: (change) => change.to ?? "—" },
    { name: "By", of: (change) => change.actor },
    { name: "Why", of: (change) => change.reason ?? "" },
    { name: "Event", kind: "id", of: (change) => (change.eventId ? to(`/console/events/${encodeURIComponent(change.eventId)}`, el("code", null, change.eventId)) : "—") },
  ],
};

const LETTERS = {
  key: (letter) => letter.id,
  href: (letter) => `/console/dead-letters?q=${letter.id}`,
  columns: [
    { name: "Type", of: (letter) => letter.type },
    { name: "Status", of: (letter) => badge(letter.status, letter.status === "open" ? "bad" : undefined) },
    { name: "Why", of: (letter) => words(letter.reason) },
    { name: "Last failed", kind: "time", of: (letter) => when(letter.lastFailedAt) },
    { name: "Id", kind: "id", of: (letter) => code(letter.id) },
  ],
};

const MESSAGES = {
  key: (message) => message.id,
  columns: [
    { name: "Message", of: (message) => words(message.template) },
    { name: "Channel", of: (message) => message.channel },
    { name: "Status", of: (message) => badge(message.status) },
    { name: "Why", of: (message) => message.reason ?? message.lastError ?? "" },
    { name: "Written", kind: "time", of: (message) => when(message.createdAt) },
  ],
};

const TICKETS = {
  key: (ticket) => ticket.id,
  href: (ticket) => `/console/support/${encodeURIComponent(ticket.id)}`,
  columns: [
    { name: "Subject", of: (ticket) => ticket.subject },
    { name: "Status", of: (ticket) => badge(ticket.status) },
    { name: "Changed", kind: "time", of: (ticket) => when(ticket.updatedAt) },
  ],
};

const MEMBERSHIPS = {
  key: (membership) => membership.id,
  href: (membership) => `/console/pods/${encodeURIComponent(membership.podId)}`,
  columns: [
    { name: "Pod", of: (membership) => el("code", null, membership.podId) },
    { name: "Status", of: (membership) => badge(membership.status) },
    { name: "Paid", kind: "num", of: (membership) => money(membership.totalContributed, membership.currency) },
    { name: "Overdue", kind: "num", of: (membership) => (membership.overdueAmount > 0 ? money(membership.overdueAmount, membership.currency) : "—") },
    { name: "Next", kind: "time", of: (membership) => when(membership.nextContributionDate) },
  ],
};

const KEYS = {
  key: (key) => key.id,
  columns: [
    { name: "Key", of: (key) => el("code", null, key.prefix) },
    { name: "Made", kind: "time", of: (key) => when(key.createdAt) },
    { name: "Revoked", kind: "time", of: (key) => when(key.revokedAt) },
    { name: "Id", kind: "id", of: (key) => code(key.id) },
  ],
};
