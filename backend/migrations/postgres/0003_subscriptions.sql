-- A Stripe subscription as its newest snapshot says, or as its paid invoices let us infer while no snapshot has come.
CREATE TABLE subscriptions (
    id                   TEXT COLLATE "C" PRIMARY KEY,
    customer_id          TEXT COLLATE "C" NOT NULL,
    history              JSON NOT NULL,
    inferred             JSON,
    status               TEXT,
    access_status        TEXT,
    plan_id              TEXT,
    tier                 TEXT,
    price_id             TEXT COLLATE "C",
    quantity             BIGINT,
    item_count           BIGINT NOT NULL,
    cancel_at_period_end BOOLEAN NOT NULL,
    cancel_at            TIMESTAMPTZ,
    current_period_start TIMESTAMPTZ,
    current_period_end   TIMESTAMPTZ,
    trial_end            TIMESTAMPTZ,
    ended_at             TIMESTAMPTZ,
    collection_paused    BOOLEAN NOT NULL,
    created_at           TIMESTAMPTZ,
    first_seen_at        TIMESTAMPTZ NOT NULL
);

CREATE INDEX subscriptions_of_customer ON subscriptions (customer_id);

-- The audit trail: each change of a tier, a status, a plan, and the event that caused it.
CREATE TABLE changes (
    id              TEXT COLLATE "C" PRIMARY KEY,
    customer_id     TEXT COLLATE "C" NOT NULL,
    subscription_id TEXT COLLATE "C",
    at              TIMESTAMPTZ NOT NULL,
    actor           TEXT NOT NULL CHECK (actor IN ('stripe', 'user', 'operator', 'system')),
    change          TEXT NOT NULL,
    from_value      TEXT,
    to_value        TEXT,
    event_id        TEXT COLLATE "C",
    reason          TEXT
);

CREATE INDEX changes_of_customer ON changes (customer_id, id);
