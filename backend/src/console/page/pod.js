// One pod: who is in it, what they paid and were paid out.
import { ask } from "./act.js";
import { at, get, post } from "./api.js";
import { button, el } from "./dom.js";
import { money, words } from "./format.js";
import { sublist } from "./list.js";
import { act, acts, badge, code, facts, part } from "./object.js";
import { when } from "./time.js";

const path = (id) => at("/api/admin/pods", id);

export async function load({ id }) {
  const [pod, payouts] = await Promise.all([get(path(id)), get(`${path(id)}/payouts`, { limit: 100 })]);
  return { pod, payouts };
}

export function parts({ pod, payouts }, page) {
  const { memberships, ...head } = pod;
  return [
    part("head", head, () => ofHead(head, page)),
    sublist("members", "Memberships", memberships, ofMembers(page)),
    sublist("payouts", "Payouts", payouts.data, PAYOUTS),
  ];
}

function ofHead(pod, page) {
  const isOver = ["canceled", "completed"].includes(pod.status);
  return [
    el("h2.title", { id: "head-title", tabindex: "-1" }, pod.name, " ", badge(pod.status)),
    facts([
      ["Pod", code(pod.id)],
      ["Description", pod.description],
      ["Each pays", `${money(pod.amount, pod.currency)} ${words(pod.cadence)}`],
      ["Members", `${pod.memberCount} of ${pod.maxMembers}`],
      ["Contributions", pod.contributionsTotal === null ? "without an end" : pod.contributionsTotal],
      ["Paid in", money(pod.totalContributed, pod.currency)],
      ["Paid out", money(pod.totalPaidOut, pod.currency)],
      ["In the pot", money(pod.totalContributed - pod.totalPaidOut, pod.currency)],
      ["Grace", `${pod.graceDays} days`],
      ["First date", when(pod.firstContributionDate)],
      ["Next date", pod.nextContributionDate && when(pod.nextContributionDate)],
      ["Ends", pod.endsAt && when(pod.endsAt)],
      ["Visibility", pod.visibility],
    ]),
    acts(act("Note a payout…", () => payOut(pod, page), { id: "payout" }), !isOver && act("Cancel the pod…", () => cancel(page), { id: "cancel", kind: "danger" })),
  ];
}

function payOut(pod, page) {
  const members = pod.members?.map(({ membershipId }) => membershipId) ?? [];
  ask({
    title: "Note a payout",
    says: "Notes that money was paid out of the pot. No money is moved by it; the member is told. The same reference again is the same payout.",
    fields: [
      { name: "membershipId", label: "To the membership", options: members },
      { name: "amount", label: `Amount, in the smallest unit of ${pod.currency}`, type: "number", required: true, min: 1, step: 1 },
      { name: "reference", label: "Reference of the transfer", required: true, maxlength: 255 },
      { name: "note", label: "Note", maxlength: 1000 },
    ],
    reason: false,
    confirm: "Note the payout",
    run: ({ note, ...payout }) => post(`${path(page.id)}/payouts`, { ...payout, note: note || undefined }),
    done: ({ id }) => page.changed(`Noted as ${id}.`),
  });
}

function cancel(page) {
  ask({
    title: "Cancel the pod",
    says: "Every membership ends at once, and its subscription at Stripe with it. What was paid stays paid. Nothing takes it back.",
    confirm: "Cancel the pod",
    kind: "danger",
    run: ({ reason }) => post(`${path(page.id)}/cancel`, { reason }),
    done: () => page.changed("The pod is cancelled."),
  });
}

const isEnded = ({ status }) => ["canceled", "completed"].includes(status);

const ofMembers = (page) => ({
  key: (membership) => membership.id,
  empty: "Nobody is in it.",
  columns: [
    { name: "User", of: (membership) => membership.userId },
    { name: "Status", of: (membership) => badge(membership.status) },
    { name: "Paid", kind: "num", of: (membership) => `${membership.contributionProgress}${membership.contributionsTotal === null ? "" : ` of ${membership.contributionsTotal}`}, ${money(membership.totalContributed, membership.currency)}` },
    { name: "Overdue", kind: "num", of: (membership) => (membership.overdueAmount > 0 ? money(membership.overdueAmount, membership.currency) : "—") },
    { name: "Tries", kind: "num", of: (membership) => membership.attempts },
    { name: "Why", of: (membership) => words(membership.failureCode ?? "") },
    { name: "Grace ends", kind: "time", of: (membership) => when(membership.graceEndsAt) },
    { name: "Next", kind: "time", of: (membership) => when(membership.nextContributionDate) },
    { name: "Id", kind: "id", of: (membership) => code(membership.id) },
  ],
  act: (membership) => !isEnded(membership) && button("Put out…", () => putOut(membership, page), { id: `out-${membership.id}`, "aria-label": `Put out ${membership.userId}` }),
});

function putOut({ id, userId }, page) {
  ask({
    title: "Put a member out",
    says: `The membership of ${userId} ends at once, and its subscription at Stripe with it. What was paid stays paid.`,
    confirm: "Put out",
    kind: "danger",
    run: ({ reason }) => post(`${at("/api/admin/memberships", id)}/cancel`, { reason }),
    done: () => page.changed("The membership has ended."),
  });
}

const PAYOUTS = {
  key: (payout) => payout.id,
  empty: "Nothing was paid out.",
  columns: [
    { name: "Reference", of: (payout) => payout.reference },
    { name: "Amount", kind: "num", of: (payout) => money(payout.amount, payout.currency) },
    { name: "Paid", kind: "time", of: (payout) => when(payout.paidAt) },
    { name: "Note", of: (payout) => payout.note ?? "" },
    { name: "To", kind: "id", of: (payout) => code(payout.membershipId) },
    { name: "Id", kind: "id", of: (payout) => code(payout.id) },
  ],
};
