// Pages of Stripe's own, where money and cards are: the till and the portal.
import { press } from "./api.js";

const here = () => `${location.origin}/account`;

async function leaveFor(path, body) {
  const { url } = await press(path, body);
  location.assign(url);
}

/** Goes to the till, to pay for a plan. */
export const buy = (planId) =>
  leaveFor("/api/stripe/checkout/create", {
    planId,
    successUrl: `${here()}?checkout=success`,
    cancelUrl: `${here()}?checkout=cancelled`,
  });

/** Goes to the portal, to change the card and to read all invoices. */
export const openPortal = () => leaveFor("/api/stripe/billing/portal", { returnUrl: here() });

/** What to say to whoever comes back from the till; null for who does not. The address then says it no more. */
export function comeBack() {
  const outcome = new URLSearchParams(location.search).get("checkout");
  if (outcome === null) return null;
  history.replaceState(null, "", location.pathname);
  return outcome === "success" ? "Thank you. Your purchase is done." : "You have not paid, and nothing has changed.";
}
