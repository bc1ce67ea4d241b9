-- A Stripe customer: what its snapshots say, and what follows from its subscriptions.
CREATE TABLE customers (
    id                        TEXT PRIMARY KEY,
    history                   TEXT NOT NULL CHECK (json_valid(history)),
    name                      TEXT,
    email                     TEXT,
    deleted                   INTEGER NOT NULL,
    default_payment_method_id TEXT,
    user_id                   TEXT,
    user_claims               TEXT NOT NULL CHECK (json_valid(user_claims)),
    current_subscription_id   TEXT,
    tier                      TEXT NOT NULL,
    entitled_until            TEXT,
    provisioned_at            TEXT,
    first_seen_at             TEXT NOT NULL
) STRICT;

CREATE INDEX customers_of_user ON customers (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX customers_by_email ON customers (email) WHERE email IS NOT NULL;
-- Whose entitlement ends by time alone.
CREATE INDEX customers_entitled_until ON customers (entitled_until) WHERE entitled_until IS NOT NULL;

-- The cards and the like that a customer's default may point to.
CREATE TABLE payment_methods (
    id          TEXT PRIMARY KEY,
    customer_id TEXT,
    brand       TEXT,
    last4       TEXT,
    detached    INTEGER NOT NULL,
    seen_at     TEXT,
    seen_source TEXT
) STRICT;

CREATE INDEX payment_methods_of_customer ON payment_methods (customer_id) WHERE customer_id IS NOT NULL;
