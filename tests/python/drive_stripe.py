"""Drives a Stripe by its own official package, and says what was amiss: prints `{"amiss": […]}` at the end.

Arguments: the API's address and the secret key.
"""

import http.server
import json
import sys
import threading
import time

import stripe

base, key = sys.argv[1:]
client = stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=0)
v1 = client.v1
amiss = []


def expect(what, seen, expected):
    if seen != expected:
        amiss.append({"what": what, "seen": repr(seen), "expected": repr(expected)})


def refused(what, call, kind, **more):
    try:
        call()
        amiss.append({"what": what, "seen": "it was done", "expected": kind.__name__})
    except stripe.StripeError as error:
        expect(what, type(error), kind)
        for name, value in more.items():
            expect(f"{what}: {name}", getattr(error, name), value)


came = {}


class Endpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        came[json.loads(body)["id"]] = (body, self.headers["stripe-signature"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"
secret = v1.webhook_endpoints.create({"url": url, "enabled_events": ["*"]}).secret

customer = v1.customers.create({"email": "ada@example.com", "metadata": {"user_id": "user_1"}})
expect("a customer", (customer.email, customer.metadata["user_id"]), ("ada@example.com", "user_1"))
card = v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.id})
expect("a card", card.card.brand, "mastercard")
product = v1.products.create({"name": "Seats"})
price = v1.prices.create(
    {"product": product.id, "currency": "usd", "unit_amount": 1000, "recurring": {"interval": "year"}}
)
subscription = v1.subscriptions.create(
    {
        "customer": customer.id,
        "items": [{"price": price.id, "quantity": 3}],
        "default_payment_method": card.id,
        "trial_period_days": 7,
        "expand": ["latest_invoice"],
    }
)
expect("a trial", (subscription.status, subscription.latest_invoice.amount_due), ("trialing", 0))
paid = v1.subscriptions.update(subscription.id, {"trial_end": "now", "expand": ["latest_invoice"]})
expect("its end", (paid.status, paid.latest_invoice.amount_paid), ("active", 3000))
refund = v1.refunds.create({"payment_intent": v1.payment_intents.list().data[0].id, "amount": 500})
expect("a refund", (refund.status, refund.amount), ("succeeded", 500))
expect("an end at once", v1.subscriptions.cancel(subscription.id).status, "canceled")

made = {v1.customers.create({"email": f"{number}@example.com"}).id for number in range(25)}
paged = [each.id for each in v1.customers.list({"limit": 4}).auto_paging_iter()]
expect("every customer once, page by page", (len(paged), set(paged)), (26, made | {customer.id}))

once = {"idempotency_key": "key_1"}
same = {v1.customers.create({"email": "once@example.com"}, once).id for _ in range(2)}
expect("the same key", len(same), 1)
refused("another's key", lambda: v1.customers.create({"email": "x@example.com"}, once), stripe.IdempotencyError)
refused(
    "nobody",
    lambda: v1.customers.retrieve("cus_nobody"),
    stripe.InvalidRequestError,
    code="resource_missing",
    param="id",
    http_status=404,
)
refused(
    "a parameter",
    lambda: v1.customers.create({"colour": "red"}),
    stripe.InvalidRequestError,
    code="parameter_unknown",
)
declined = "pm_card_visa_chargeDeclined"
refused(
    "a card",
    lambda: v1.payment_methods.attach(declined, {"customer": customer.id}),
    stripe.CardError,
    code="card_declined",
    http_status=402,
)
stranger = stripe.StripeClient("sk_test_stranger", base_addresses={"api": base}, max_network_retries=0)
refused("a stranger", lambda: stranger.v1.customers.list(), stripe.AuthenticationError, http_status=401)

happened = [event.id for event in v1.events.list({"limit": 100}).auto_paging_iter()]
expect("a lot has happened", len(happened) > 30, True)
while not came.keys() >= set(happened):
    time.sleep(0.02)
for id in happened:
    body, signature = came[id]
    event = client.construct_event(body, signature, secret)
    expect("an event", (event.id, event.api_version), (id, "2026-10-28.endive"))
body, signature = came[happened[0]]
refused("a forged one", lambda: client.construct_event(body + b" ", signature, secret), stripe.SignatureVerificationError)
print(json.dumps({"amiss": amiss}))
