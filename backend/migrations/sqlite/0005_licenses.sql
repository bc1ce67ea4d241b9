-- One licence a customer, the same key for good. `last_seq` numbers its events: they are handed out under this row's lock.
CREATE TABLE licenses (
    id              TEXT PRIMARY KEY,
    customer_id     TEXT NOT NULL UNIQUE,
    key             TEXT NOT NULL UNIQUE,
    status          TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'expired', 'revoked')),
    tier            TEXT NOT NULL,
    plan_id         TEXT,
    max_activations INTEGER NOT NULL,
    expires_at      TEXT,
    revoked_at      TEXT,
    last_seq        INTEGER NOT NULL,
    created_at      TEXT NOT NULL
) STRICT;

-- What the desktop apps of a licence are told, in order, without a gap.
CREATE TABLE license_events (
    license_id TEXT NOT NULL REFERENCES licenses (id),
    seq        INTEGER NOT NULL,
    id         TEXT NOT NULL UNIQUE,
    type       TEXT NOT NULL,
    data       TEXT NOT NULL CHECK (json_valid(data)),
    created_at TEXT NOT NULL,
    PRIMARY KEY (license_id, seq)
) STRICT;
