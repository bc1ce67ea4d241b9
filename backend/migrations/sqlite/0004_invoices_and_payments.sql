-- A Stripe invoice; it only moves forward.
CREATE TABLE invoices (
    id                 TEXT PRIMARY KEY,
    customer_id        TEXT,
    subscription_id    TEXT,
    status             TEXT NOT NULL,
    currency           TEXT,
    amount_due         INTEGER NOT NULL,
    amount_paid        INTEGER NOT NULL,
    attempts           INTEGER NOT NULL,
    next_attempt_at    TEXT,
    number             TEXT,
    hosted_invoice_url TEXT,
    invoice_pdf        TEXT,
    created_at         TEXT,
    paid_at            TEXT,
    first_failed_at    TEXT,
    seen_at            TEXT NOT NULL,
    seen_attempts      INTEGER NOT NULL,
    seen_source        TEXT NOT NULL
) STRICT;

CREATE INDEX invoices_of_customer ON invoices (customer_id, created_at, id);
CREATE INDEX invoices_of_subscription ON invoices (subscription_id) WHERE subscription_id IS NOT NULL;

-- Money that came or should have come: one row for a paid invoice, one for a one-off Checkout session, one for a payment
-- intent. `belongs_to` names the invoice or session that an intent pays, so that it is not counted a second time.
CREATE TABLE payments (
    id                TEXT PRIMARY KEY,
    kind              TEXT NOT NULL CHECK (kind IN ('invoice', 'session', 'intent')),
    customer_id       TEXT,
    belongs_to        TEXT,
    payment_intent_id TEXT,
    amount            INTEGER NOT NULL,
    currency          TEXT,
    status            TEXT,
    failure_code      TEXT,
    paid_at           TEXT,
    created_at        TEXT,
    seen_at           TEXT,
    seen_source       TEXT
) STRICT;

CREATE INDEX payments_of_customer ON payments (customer_id, created_at, id) WHERE customer_id IS NOT NULL;
