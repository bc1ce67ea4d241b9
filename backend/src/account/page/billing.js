// The card and the newest invoices. Whatever is done about them is done at Stripe's portal.
import { openPortal } from "./checkout.js";
import { button, el, heading, link } from "./dom.js";
import { day, money, words } from "./format.js";

export const of = ({ card, invoices, me }) => ({ card, invoices, isCustomer: me.stripeCustomerId !== null });

export function render({ card, invoices, isCustomer }, page) {
  if (!isCustomer) return [];
  const { brand, last4 } = card.defaultPaymentMethod ?? {};
  const shown = last4 ? `${brand ? `${words(brand)} ` : ""}ending in ${last4}` : "No card is known.";
  return [
    heading("Card and invoices", "billing-title"),
    el("p.card", { id: "card" }, shown),
    el("div.buttons", null, button("Change your card, see all invoices", () => page.attempt(openPortal), { id: "portal" })),
    invoices.data.length > 0 && el("ul.rows", { "aria-label": "Your newest invoices" }, invoices.data.map(row)),
  ];
}

function row({ id, number, status, currency, amountDue, amountPaid, createdAt, hostedInvoiceUrl, invoicePdf }) {
  const amount = status === "paid" ? amountPaid : amountDue;
  const name = number ?? id;
  return el(
    "li",
    null,
    el("span.main", null, link(name, hostedInvoiceUrl), el("small", null, day(createdAt))),
    el("span.amount", null, money(amount, currency)),
    el(`span.state.${status}`, null, words(status)),
    invoicePdf && link("PDF", invoicePdf, { "aria-label": `Invoice ${name} as PDF` }),
  );
}
