// What the user has and what it costs, and what else is on sale.
import { changeTo } from "./change.js";
import { buy, openPortal } from "./checkout.js";
import { button, el, facts, heading, link } from "./dom.js";
import { cancel, reactivate } from "./ends.js";
import { count, day, price, words } from "./format.js";
import { NAMES, endsAt, goesOn, standing } from "./standing.js";

/** What the section shows. */
export const of = ({ current, plans, invoices }) => ({ current, plans, invoices });

export function render({ current, plans, invoices }, page) {
  const name = standing(current);
  const { subscription, plan } = current;
  const title = subscription?.planName ?? plan?.name ?? (name === "none" ? null : "Your subscription");
  const shown = name === "for_good" ? plan?.name ?? "Your purchase" : title;
  return [
    el("div.title", null, heading("Plan", "plan-title"), el(`span.badge.${name}`, null, NAMES[name])),
    shown && el("p.big", { id: "plan-name" }, shown),
    say(name, current, invoices),
    costs(name, current, plans),
    actions(name, current, invoices, page),
    offers(name, current, plans, page),
  ];
}

/** A sentence for who has to know more than the figures. */
function say(name, { subscription, license }, invoices) {
  switch (name) {
    case "none":
      return el("p", null, "You have no plan yet. Choose one below.");
    case "ended":
      return el("p", null, `It ended${subscription.endedAt ? ` on ${day(subscription.endedAt)}` : ""}. You can subscribe again below.`);
    case "ending":
      return el("p.notice", null, `It ends on ${day(endsAt(subscription))}. Until then you have what you have now.`);
    case "overdue": {
      const grace = license?.graceEndsAt ? ` You keep what you have until ${day(license.graceEndsAt)}.` : "";
      const next = openInvoice(invoices)?.nextAttemptAt;
      const again = next ? ` It is tried again on ${day(next)}.` : "";
      return el("p.notice.bad", null, `Your last payment failed.${again}${grace} Pay it, or change your card.`);
    }
    case "on_hold":
      return el("p.notice.bad", null, "Your subscription is on hold. Look at your card and your invoices to have it go on.");
    case "unfinished":
      return el("p.notice.bad", null, "Your first payment is not done. Pay it, or choose a plan again.");
    default:
      return null;
  }
}

/** The invoice that is to be paid. */
const openInvoice = (invoices) => invoices.data.find((invoice) => invoice.status === "open");

function costs(name, { subscription, plan, license }, plans) {
  const planned = plan ?? plans.data.find((other) => other.id === subscription?.planId);
  if (["none", "ended"].includes(name) || !planned) return null;
  const quantity = name === "for_good" ? 1 : subscription.quantity ?? 1;
  const renews = day(subscription?.currentPeriodEnd);
  return facts([
    ["Price", price(planned, quantity)],
    ["Quantity", quantity > 1 ? String(quantity) : null],
    ["Free until", name === "trial" ? day(subscription.trialEnd) : null],
    ["Renews on", ["active", "overdue"].includes(name) ? renews : null],
    ["Machines", license?.maxActivations == null ? null : `Up to ${license.maxActivations}`],
  ]);
}

function actions(name, { subscription }, invoices, page) {
  const isAmiss = ["overdue", "on_hold", "unfinished"].includes(name);
  const invoice = isAmiss ? openInvoice(invoices) : null;
  const buttons = [
    invoice?.hostedInvoiceUrl && link("Pay the invoice", invoice.hostedInvoiceUrl, { class: "button main" }),
    isAmiss && button("Change your card", () => page.attempt(openPortal), { id: "change-card" }),
    // An announced end of one that is overdue can be taken back too.
    goesOn(name) && subscription.cancelScheduled
      ? button("Keep my subscription", () => page.attempt(() => reactivate(page)), { kind: "main", id: "keep" })
      : null,
    goesOn(name) && !subscription.cancelScheduled
      ? button("Cancel the subscription…", () => cancel(subscription, page), { id: "cancel" })
      : null,
  ].filter(Boolean);
  return buttons.length > 0 ? el("div.buttons", null, buttons) : null;
}

function offers(name, current, plans, page) {
  const others = plans.data.filter((plan) => !plan.current);
  if (others.length === 0 || name === "on_hold") return null;
  const isSubscribed = goesOn(name);
  const offer = (plan) => {
    const isChange = isSubscribed && plan.interval !== "once";
    const label = plan.name ?? plan.id;
    const act = () => page.attempt(() => (isChange ? changeTo(plan, page) : buy(plan.id)));
    const text = isChange ? "Change to this…" : plan.interval === "once" ? "Buy" : "Subscribe";
    return el(
      "li.offer",
      null,
      el("h4", { id: `offer-name-${plan.id}` }, label),
      el("p.price", null, price(plan) ?? "By agreement"),
      el("ul.features", null, features(plan).map((feature) => el("li", null, feature))),
      button(text, act, { id: `offer-${plan.id}`, "aria-describedby": `offer-name-${plan.id}` }),
    );
  };
  return el("div", null, el("h3", null, isSubscribed ? "Other plans" : "Plans"), el("ul.offers", null, others.map(offer)));
}

/** What a plan gives, as far as its file says it. */
function features({ maxActivations, features }) {
  const machines = maxActivations == null ? [] : [count(maxActivations, "machine")];
  const said = Object.entries(features).filter(([, value]) => value !== false && typeof value !== "object");
  return [...machines, ...said.map(([name, value]) => (value === true ? words(name) : `${words(name)}: ${value}`))];
}
