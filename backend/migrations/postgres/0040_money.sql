-- What is known of a payment intent (or of a charge that was made without one) by whatever names it: what it pays, and
-- what was given back of it. A row of `payments` is made by the intent's own events alone.
CREATE TABLE charges (
    id          TEXT COLLATE "C" PRIMARY KEY,
    customer_id TEXT COLLATE "C",
    belongs_to  TEXT COLLATE "C",
    currency    TEXT,
    given_back  JSON NOT NULL,
    refunded    BIGINT NOT NULL,
    refunded_at TIMESTAMPTZ,
    lost_at     TIMESTAMPTZ
);

CREATE INDEX charges_of_customer ON charges (customer_id);
CREATE INDEX charges_of_payee ON charges (belongs_to);

INSERT INTO charges (id, customer_id, belongs_to, currency, given_back, refunded)
SELECT id, customer_id, belongs_to, currency, '{}', 0
FROM payments
WHERE kind = 'intent';

-- What was only ever named is no payment.
DELETE FROM payments WHERE seen_at IS NULL;

CREATE INDEX payments_of_intent ON payments (payment_intent_id);

-- What was sold once: an invoice, or a one-off session that made none, with what it may be a plan by.
CREATE TABLE purchases (
    id            TEXT COLLATE "C" PRIMARY KEY,
    customer_id   TEXT COLLATE "C" NOT NULL,
    session_id    TEXT COLLATE "C",
    items         JSON NOT NULL,
    named_plan_id TEXT COLLATE "C",
    livemode      BOOLEAN,
    first_seen_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX purchases_of_customer ON purchases (customer_id);

-- Prices that a plan matched by their lookup keys, which move on to other prices.
CREATE TABLE prices (
    id         TEXT COLLATE "C" PRIMARY KEY,
    plan_id    TEXT COLLATE "C" NOT NULL,
    matched_at TIMESTAMPTZ NOT NULL,
    matched_by TEXT COLLATE "C" NOT NULL
);

ALTER TABLE customers ADD COLUMN default_source_id TEXT COLLATE "C";

-- Where its newest event stands among those of its second: attached, then updated, then detached.
ALTER TABLE payment_methods ADD COLUMN seen_change BIGINT NOT NULL DEFAULT 0;
