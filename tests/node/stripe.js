// Drives a Stripe by its own official package, and says what was amiss: prints `{"amiss": […]}` at the end.
// Arguments: the API's address and the secret key.
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import Stripe from "stripe";

const [base, key] = process.argv.slice(2);
const { hostname: host, port } = new URL(base);
const open = (more = {}) => new Stripe(key, { host, port, protocol: "http", maxNetworkRetries: 0, telemetry: false, ...more });
const stripe = open();
const amiss = [];
const is = (what, seen, expected) => {
  if (JSON.stringify(seen) !== JSON.stringify(expected)) amiss.push({ what, seen, expected });
};
const refused = async (what, call, type, more = {}) => {
  try {
    await call();
    amiss.push({ what, seen: "it was done", expected: type });
  } catch (error) {
    is(what, error.type, type);
    for (const [name, value] of Object.entries(more)) is(`${what}: ${name}`, error[name], value);
  }
};

// Where its webhooks come to; the endpoint's secret is in the answer that makes it, and in no other.
const came = new Map();
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  came.set(JSON.parse(body).id, { body, signature: request.headers["stripe-signature"] });
  response.end();
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const url = `http://127.0.0.1:${server.address().port}/`;
const { secret } = await stripe.webhookEndpoints.create({ url, enabled_events: ["*"] });
is("its secret is told once", (await stripe.webhookEndpoints.list()).data[0].secret, undefined);

// Objects are what the package's types say, and come as they were sent.
const customer = await stripe.customers.create({ email: "ada@example.com", name: "Ada", metadata: { user_id: "user_1" } });
is("a customer", [customer.object, customer.email, customer.metadata], ["customer", "ada@example.com", { user_id: "user_1" }]);
is("the request's id", typeof customer.lastResponse.requestId, "string");
is("the version", customer.lastResponse.apiVersion, "2026-10-28.endive");
const changed = await stripe.customers.update(customer.id, { name: "Ada L.", metadata: { user_id: "", plan: "pro" } });
is("its change", [changed.name, changed.metadata], ["Ada L.", { plan: "pro" }]);
const card = await stripe.paymentMethods.attach("pm_card_visa", { customer: customer.id });
is("a card", [card.card.brand, card.card.last4], ["visa", "4242"]);
await stripe.customers.update(customer.id, { invoice_settings: { default_payment_method: card.id } });

// Something to sell, a subscription to it, and what it would cost otherwise.
const product = await stripe.products.create({ name: "Seats" });
const [small, large] = await Promise.all(
  [1000, 3000].map((unit_amount) =>
    stripe.prices.create({ product: product.id, currency: "usd", unit_amount, recurring: { interval: "month" } }),
  ),
);
const subscription = await stripe.subscriptions.create({
  customer: customer.id,
  items: [{ price: small.id, quantity: 2 }],
  expand: ["latest_invoice.payments", "customer"],
});
is("a subscription", [subscription.status, subscription.customer.email], ["active", "ada@example.com"]);
is("its invoice", [subscription.latest_invoice.status, subscription.latest_invoice.amount_paid], ["paid", 2000]);
is("its payment", subscription.latest_invoice.payments.data[0].status, "paid");
const change = { items: [{ id: subscription.items.data[0].id, price: large.id }], proration_behavior: "always_invoice" };
const preview = await stripe.invoices.createPreview({ subscription: subscription.id, subscription_details: change });
const upgraded = await stripe.subscriptions.update(subscription.id, { ...change, expand: ["latest_invoice"] });
is("an upgrade costs what its preview said", upgraded.latest_invoice.amount_paid, preview.amount_due);
is("an upgrade", upgraded.items.data[0].price.id, large.id);

// Pages come by themselves.
const made = [];
for (let number = 0; number < 25; number += 1) {
  made.push((await stripe.customers.create({ email: `${number}@example.com`, metadata: { number } })).id);
}
const paged = [];
for await (const each of stripe.customers.list({ limit: 7 })) paged.push(each.id);
is("every customer once, page by page", [...paged].sort(), [customer.id, ...made].sort());
const three = await stripe.customers.list({ limit: 3 }).autoPagingToArray({ limit: 3 });
is("the first page", three.length, 3);
const events = await stripe.events.list({ type: "customer.created", limit: 100 });
is("events", events.data.length, 26);

// A session at the till, and the portal.
const session = await stripe.checkout.sessions.create({
  mode: "subscription",
  line_items: [{ price: small.id, quantity: 1 }],
  success_url: "https://app.example.com/?s={CHECKOUT_SESSION_ID}",
  customer: customer.id,
  subscription_data: { trial_period_days: 14, metadata: { user_id: "user_1" } },
});
is("a session", [session.status, session.mode, session.url.startsWith(base)], ["open", "subscription", true]);
is("what it sells", (await stripe.checkout.sessions.listLineItems(session.id)).data[0].price.id, small.id);
is("it expires", (await stripe.checkout.sessions.expire(session.id)).status, "expired");
const portal = await stripe.billingPortal.sessions.create({ customer: customer.id, return_url: "https://app.example.com" });
is("the portal", portal.url.startsWith(base), true);

// The same key does it once; with something else it is refused.
const once = { idempotencyKey: "key_1" };
const [first, second] = [
  await stripe.customers.create({ email: "once@example.com" }, once),
  await stripe.customers.create({ email: "once@example.com" }, once),
];
is("the same key", first.id, second.id);
await refused("another's key", () => stripe.customers.create({ email: "x@example.com" }, once), "StripeIdempotencyError");

// Refusals are exceptions of their kinds.
const missing = { code: "resource_missing", param: "id", statusCode: 404 };
await refused("nobody", () => stripe.customers.retrieve("cus_nobody"), "StripeInvalidRequestError", missing);
const unknown = { code: "parameter_unknown", param: "colour", statusCode: 400 };
await refused("a parameter", () => stripe.customers.create({ colour: "red" }), "StripeInvalidRequestError", unknown);
const kind = { code: "parameter_invalid_integer", param: "items[0][quantity]" };
const many = { customer: customer.id, items: [{ price: small.id, quantity: "many" }] };
await refused("a number", () => stripe.subscriptions.create(many), "StripeInvalidRequestError", kind);
const attach = () => stripe.paymentMethods.attach("pm_card_visa_chargeDeclined", { customer: customer.id });
await refused("a card", attach, "StripeCardError", { code: "card_declined", decline_code: "generic_decline" });
const stranger = new Stripe("sk_test_stranger", { host, port, protocol: "http", maxNetworkRetries: 0 });
await refused("a stranger", () => stranger.customers.list(), "StripeAuthenticationError", { statusCode: 401 });
// What fails is asked for again, by the page for whoever plays Stripe.
const press = (form) => fetch(base, { method: "POST", body: new URLSearchParams(form) });
await press({ act: "fail", how: "429" });
await refused("too many", () => stripe.customers.list(), "StripeRateLimitError", { statusCode: 429 });
await press({ act: "fail", how: "500" });
await refused("a fault", () => stripe.customers.list(), "StripeAPIError", { statusCode: 500 });
await press({ act: "fail", how: "lost" });
const patient = open({ maxNetworkRetries: 2 });
const kept = await patient.customers.create({ email: "lost@example.com" });
const lost = await stripe.customers.list({ email: "lost@example.com" });
is("an answer that was lost", lost.data.map((each) => each.id), [kept.id]);

// Each webhook comes, and opens with the secret, and with no other.
const happened = await stripe.events.list({ limit: 100 }).autoPagingToArray({ limit: 1000 });
is("a lot has happened", happened.length > 50, true);
while (happened.some(({ id }) => !came.has(id))) await pause(20);
for (const { id } of happened) {
  const { body, signature } = came.get(id);
  const event = stripe.webhooks.constructEvent(body, signature, secret);
  is("an event", [event.id, event.object, event.api_version], [id, "event", "2026-10-28.endive"]);
}
const { body, signature } = came.get(happened[0].id);
const open_it = (body, secret) => () => stripe.webhooks.constructEvent(body, signature, secret);
await refused("a forged one", open_it(`${body} `, secret), "StripeSignatureVerificationError");
await refused("another's", open_it(body, "whsec_another"), "StripeSignatureVerificationError");
// Time passes when it is told to.
const leaving = await stripe.subscriptions.update(subscription.id, { cancel_at_period_end: true });
is("an end that is announced", leaving.cancel_at_period_end, true);
const clock = await stripe.testHelpers.testClocks.create({ frozen_time: leaving.items.data[0].current_period_start + 3600 });
await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: leaving.items.data[0].current_period_end + 60 });
is("its end", (await stripe.subscriptions.retrieve(subscription.id)).status, "canceled");
server.close();
server.closeAllConnections();
console.log(JSON.stringify({ amiss }));
