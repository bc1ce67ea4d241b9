// The end of a subscription: asked for, and taken back.
import { press } from "./api.js";
import { confirm } from "./dialog.js";
import { el } from "./dom.js";
import { day } from "./format.js";

/** Asks when it is to end. */
export function cancel(subscription, page) {
  const isTrial = subscription.status === "trialing";
  const until = day(isTrial ? subscription.trialEnd ?? subscription.currentPeriodEnd : subscription.currentPeriodEnd);
  const later = isTrial ? "When the free trial is over" : "When what is paid for is over";
  const choice = (value, text, checked) =>
    el("label.choice", null, el("input", { type: "radio", name: "when", value, checked }), text);
  const when = el(
    "fieldset",
    null,
    el("legend", null, "When should it end?"),
    choice("later", `${later}${until ? `: on ${until}` : ""}. Until then you have what you have now.`, true),
    choice("now", "At once. Nothing is paid back.", false),
  );
  const reason = el("textarea", { id: "reason", maxlength: "500", rows: "3" });
  confirm({
    title: "Cancel your subscription",
    content: [when, el("label", { for: "reason" }, "Why are you leaving? (You need not say.)"), reason],
    confirm: "Cancel the subscription",
    kind: "danger",
    act: async () => {
      const immediately = when.querySelector("input:checked").value === "now";
      const changed = await press("/api/subscriptions/cancel", { immediately, reason: reason.value });
      await page.changed(changed, immediately ? "Your subscription has ended." : "Your subscription will end.");
    },
  });
}

/** Takes the announced end back. */
export async function reactivate(page) {
  const changed = await press("/api/subscriptions/reactivate");
  await page.changed(changed, "Your subscription goes on.");
}
