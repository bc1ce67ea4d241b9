-- A Stripe invoice; it only moves forward.
CREATE TABLE invoices (
    id                 TEXT COLLATE "C" PRIMARY KEY,
    customer_id        TEXT COLLATE "C",
    subscription_id    TEXT COLLATE "C",
    status             TEXT NOT NULL,
    currency           TEXT,
    amount_due         BIGINT NOT NULL,
    amount_paid        BIGINT NOT NULL,
    attempts           BIGINT NOT NULL,
    next_attempt_at    TIMESTAMPTZ,
    number             TEXT,
    hosted_invoice_url TEXT,
    invoice_pdf        TEXT,
    created_at         TIMESTAMPTZ,
    paid_at            TIMESTAMPTZ,
    first_failed_at    TIMESTAMPTZ,
    seen_at            TIMESTAMPTZ NOT NULL,
    seen_attempts      BIGINT NOT NULL,
    seen_source        TEXT COLLATE "C" NOT NULL
);

CREATE INDEX invoices_of_customer ON invoices (customer_id, created_at, id);
CREATE INDEX invoices_of_subscription ON invoices (subscription_id) WHERE subscription_id IS NOT NULL;

-- Money that came or should have come: one row for a paid invoice, one for a one-off Checkout session, one for a payment
-- intent. `belongs_to` names the invoice or session that an intent pays, so that it is not counted a second time.
CREATE TABLE payments (
    id                TEXT COLLATE "C" PRIMARY KEY,
    kind              TEXT NOT NULL CHECK (kind IN ('invoice', 'session', 'intent')),
    customer_id       TEXT COLLATE "C",
    belongs_to        TEXT COLLATE "C",
    payment_intent_id TEXT COLLATE "C",
    amount            BIGINT NOT NULL,
    currency          TEXT,
    status            TEXT,
    failure_code      TEXT,
    paid_at           TIMESTAMPTZ,
    created_at        TIMESTAMPTZ,
    seen_at           TIMESTAMPTZ,
    seen_source       TEXT COLLATE "C"
);

CREATE INDEX payments_of_customer ON payments (customer_id, created_at, id) WHERE customer_id IS NOT NULL;
