// What a user has, in one word. Everything on the page follows from it.

/** What is known of a subscription by its status alone. */
const BY_STATUS = {
  trialing: "trial",
  active: "active",
  past_due: "overdue",
  unpaid: "on_hold",
  paused: "on_hold",
  incomplete: "unfinished",
  canceled: "ended",
  incomplete_expired: "ended",
};

/** How each is called on the page. */
export const NAMES = {
  none: "No plan",
  trial: "Free trial",
  active: "Active",
  ending: "Ends soon",
  overdue: "Payment overdue",
  on_hold: "On hold",
  unfinished: "Not paid yet",
  ended: "Ended",
  for_good: "Yours for good",
};

/** The word for what `GET /api/subscriptions/current` says. */
export function standing({ subscription, plan }) {
  // Bought once; a subscription that gives more would be `plan`.
  if (plan?.interval === "once") return "for_good";
  if (subscription?.status == null) return "none";
  const name = BY_STATUS[subscription.status] ?? "on_hold";
  const endsByItself = subscription.cancelScheduled && ["trial", "active"].includes(name);
  return endsByItself ? "ending" : name;
}

/** What is had, in a few words. */
export function headline(current) {
  const name = standing(current);
  const plan = name === "for_good" ? current.plan.name : current.subscription?.planName;
  return plan ? `${plan}: ${NAMES[name]}` : NAMES[name];
}

/** Whether it goes on unless somebody ends it. */
export const goesOn = (name) => ["trial", "active", "overdue", "ending"].includes(name);

/** When a subscription that is to end does. */
export const endsAt = (subscription) => subscription.cancelAt ?? subscription.currentPeriodEnd;
