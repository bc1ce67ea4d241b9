// Another plan: what it costs, to the unit, before it is changed.
import { press } from "./api.js";
import { openPortal } from "./checkout.js";
import { confirm } from "./dialog.js";
import { button, el, facts } from "./dom.js";
import { day, money, words } from "./format.js";

/** Asks whether to change to `plan`, with what that costs. */
export async function changeTo(plan, page) {
  const preview = await press("/api/subscriptions/preview-change", { planId: plan.id });
  const { planId, prorationDate, currency, amountDueNow, amountAtRenewal, renewsAt } = preview;
  confirm({
    title: `Change to ${plan.name ?? plan.id}`,
    content: [
      facts([
        ["To pay now", el("strong", null, money(amountDueNow, currency))],
        [renewsAt ? `From ${day(renewsAt)} on` : "Afterwards", each(plan, amountAtRenewal, currency)],
      ]),
      lines(preview),
    ],
    confirm: amountDueNow > 0 ? `Pay ${money(amountDueNow, currency)} and change` : "Change the plan",
    act: async () => {
      const changed = await press("/api/subscriptions/change-plan", { planId, prorationDate });
      await page.changed(changed, `Your plan is now ${plan.name ?? plan.id}.`);
    },
    explain: (error, dialog) => refusal(error, dialog, page),
  });
}

function each(plan, amount, currency) {
  const text = money(amount, currency);
  return plan.interval ? `${text} per ${plan.interval}` : text;
}

function lines({ lines, currency }) {
  if (lines.length === 0) return null;
  const row = ({ description, amount }) =>
    el("li", null, el("span", null, description ?? "Another plan"), el("span.amount", null, money(amount, currency)));
  return el("details", null, el("summary", null, "How that comes about"), el("ul.sums", null, lines.map(row)));
}

/** What a buyer can do about a payment that was refused. */
function refusal(error, dialog, page) {
  const toPortal = () => {
    dialog.close();
    return page.attempt(openPortal);
  };
  const card = () => button("Change your card", toPortal);
  if (error.code === "card_declined") {
    const why = error.declineCode ? ` (${words(error.declineCode)})` : "";
    return [el("p", null, `Your card was declined${why}. Your plan is as it was.`), card()];
  }
  if (error.code === "payment_action_required") {
    const why = "Your bank wants you to confirm each payment with this card, and a change of plan is paid without you.";
    return [el("p", null, `${why} Your plan is as it was: change your card, then try again.`), card()];
  }
  if (error.code === "payment_method_required") {
    return [el("p", null, "There is no card to pay with. Your plan is as it was."), card()];
  }
  return null;
}
