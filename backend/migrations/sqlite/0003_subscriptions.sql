-- A Stripe subscription as its newest snapshot says, or as its paid invoices let us infer while no snapshot has come.
CREATE TABLE subscriptions (
    id                   TEXT PRIMARY KEY,
    customer_id          TEXT NOT NULL,
    history              TEXT NOT NULL CHECK (json_valid(history)),
    inferred             TEXT CHECK (json_valid(inferred)),
    status               TEXT,
    access_status        TEXT,
    plan_id              TEXT,
    tier                 TEXT,
    price_id             TEXT,
    quantity             INTEGER,
    item_count           INTEGER NOT NULL,
    cancel_at_period_end INTEGER NOT NULL,
    cancel_at            TEXT,
    current_period_start TEXT,
    current_period_end   TEXT,
    trial_end            TEXT,
    ended_at             TEXT,
    collection_paused    INTEGER NOT NULL,
    created_at           TEXT,
    first_seen_at        TEXT NOT NULL
) STRICT;

CREATE INDEX subscriptions_of_customer ON subscriptions (customer_id);

-- The audit trail: each change of a tier, a status, a plan, and the event that caused it.
CREATE TABLE changes (
    id              TEXT PRIMARY KEY,
    customer_id     TEXT NOT NULL,
    subscription_id TEXT,
    at              TEXT NOT NULL,
    actor           TEXT NOT NULL CHECK (actor IN ('stripe', 'user', 'operator', 'system')),
    change          TEXT NOT NULL,
    from_value      TEXT,
    to_value        TEXT,
    event_id        TEXT,
    reason          TEXT
) STRICT;

CREATE INDEX changes_of_customer ON changes (customer_id, id);
