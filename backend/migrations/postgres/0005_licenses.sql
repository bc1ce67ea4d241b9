-- One licence a customer, the same key for good. `last_seq` numbers its events: they are handed out under this row's lock.
CREATE TABLE licenses (
    id              TEXT COLLATE "C" PRIMARY KEY,
    customer_id     TEXT COLLATE "C" NOT NULL UNIQUE,
    key             TEXT COLLATE "C" NOT NULL UNIQUE,
    status          TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'expired', 'revoked')),
    tier            TEXT NOT NULL,
    plan_id         TEXT,
    max_activations BIGINT NOT NULL,
    expires_at      TIMESTAMPTZ,
    revoked_at      TIMESTAMPTZ,
    last_seq        BIGINT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL
);

-- What the desktop apps of a licence are told, in order, without a gap.
CREATE TABLE license_events (
    license_id TEXT COLLATE "C" NOT NULL REFERENCES licenses (id),
    seq        BIGINT NOT NULL,
    id         TEXT COLLATE "C" NOT NULL UNIQUE,
    type       TEXT NOT NULL,
    data       JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (license_id, seq)
);
