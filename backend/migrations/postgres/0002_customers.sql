-- A Stripe customer: what its snapshots say, and what follows from its subscriptions.
CREATE TABLE customers (
    id                        TEXT COLLATE "C" PRIMARY KEY,
    history                   JSON NOT NULL,
    name                      TEXT,
    email                     TEXT,
    deleted                   BOOLEAN NOT NULL,
    default_payment_method_id TEXT COLLATE "C",
    user_id                   TEXT COLLATE "C",
    user_claims               JSON NOT NULL,
    current_subscription_id   TEXT COLLATE "C",
    tier                      TEXT NOT NULL,
    entitled_until            TIMESTAMPTZ,
    provisioned_at            TIMESTAMPTZ,
    first_seen_at             TIMESTAMPTZ NOT NULL
);

CREATE INDEX customers_of_user ON customers (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX customers_by_email ON customers (email) WHERE email IS NOT NULL;
-- Whose entitlement ends by time alone.
CREATE INDEX customers_entitled_until ON customers (entitled_until) WHERE entitled_until IS NOT NULL;

-- The cards and the like that a customer's default may point to.
CREATE TABLE payment_methods (
    id          TEXT COLLATE "C" PRIMARY KEY,
    customer_id TEXT COLLATE "C",
    brand       TEXT,
    last4       TEXT,
    detached    BOOLEAN NOT NULL,
    seen_at     TIMESTAMPTZ,
    seen_source TEXT COLLATE "C"
);

CREATE INDEX payment_methods_of_customer ON payment_methods (customer_id) WHERE customer_id IS NOT NULL;
