// One licence: its key and machines, and what they were told.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { el } from "./dom.js";
import { words } from "./format.js";
import { sublist } from "./list.js";
import { machines } from "./machines.js";
import { act, acts, badge, code, facts, part, secret, to } from "./object.js";
import { when } from "./time.js";

const path = (id) => at("/api/admin/licenses", id);

export const load = ({ id }) => get(path(id));

export function parts(license, page) {
  const { machines: list, events, ...head } = license;
  return [part("head", head, () => ofHead(head, page)), machines(list, page.id, page), sublist("log", "Its log, and what apps said", events, EVENTS)];
}

function ofHead(license, page) {
  const { status, features, stripeCustomerId } = license;
  const has = Object.entries(features).map(([name, value]) => (value === true ? words(name) : `${words(name)}: ${JSON.stringify(value)}`));
  return [
    el("h2.title", { id: "head-title", tabindex: "-1" }, el("code", null, license.id), " ", badge(status)),
    facts([
      ["Customer", stripeCustomerId && to(`/console/customers/${encodeURIComponent(stripeCustomerId)}`, el("code", null, stripeCustomerId))],
      ["Key", secret(license.key, "the key")],
      ["Tier", license.tier],
      ["Plan", license.planId && code(license.planId)],
      ["Seats", `${license.activations} of ${license.maxActivations}`],
      ["Features", has.join(", ")],
      ["Grace ends", license.graceEndsAt && when(license.graceEndsAt)],
      ["Expires", license.expiresAt && when(license.expiresAt)],
    ]),
    acts(
      status === "revoked"
        ? act("Reinstate…", () => reinstate(page), { id: "reinstate" })
        : act("Revoke…", () => revoke(page), { id: "revoke", kind: "danger" }),
    ),
  ];
}

function revoke(page) {
  ask({
    title: "Revoke the licence",
    says: "Its apps stop working as soon as they hear of it, which is at once where they are online. Only an operator gives it back; nothing is changed at Stripe, where the customer goes on paying.",
    confirm: "Revoke",
    kind: "danger",
    run: ({ reason }) => post(`${path(page.id)}/revoke`, { reason }),
    done: () => page.changed("The licence is revoked."),
  });
}

function reinstate(page) {
  ask({
    title: "Reinstate the licence",
    says: "It follows its subscription again: active where that is entitled, else suspended or expired. Its apps are told at once.",
    confirm: "Reinstate",
    run: ({ reason }) => post(`${path(page.id)}/reinstate`, { reason }),
    done: ({ status }) => page.changed(`The licence is ${status}.`),
  });
}

const said = ({ machineId, status, acknowledgedAt, error }) => el("li", null, badge(status), " ", code(machineId), " ", when(acknowledgedAt), error && ` ${error}`);

const EVENTS = {
  key: (told) => told.eventId,
  empty: "Nothing was told yet.",
  columns: [
    { name: "Type", of: (told) => told.type },
    { name: "When", kind: "time", of: (told) => when(told.createdAt) },
    { name: "Event", kind: "id", of: (told) => code(told.eventId) },
    { name: "Cursor", kind: "id", of: (told) => code(told.cursor) },
    { name: "Of Stripe's event", kind: "id", of: (told) => (told.stripeEventId ? to(`/console/events/${encodeURIComponent(told.stripeEventId)}`, el("code", null, told.stripeEventId)) : code(null)) },
    { name: "Apps said", of: (told) => (told.acknowledgements.length === 0 ? badge("nothing", "plain") : el("ul.lines", null, told.acknowledgements.map(said))) },
  ],
};
