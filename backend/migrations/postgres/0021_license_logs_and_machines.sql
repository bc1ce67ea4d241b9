-- What numbers a licence's log, in a row of its own: whoever appends holds it, and nobody has to hold the licence for it.
CREATE TABLE license_logs (
    license_id TEXT COLLATE "C" PRIMARY KEY REFERENCES licenses (id),
    last_seq   BIGINT NOT NULL
);

INSERT INTO license_logs (license_id, last_seq)
SELECT id, last_seq FROM licenses;

-- The machines that a licence was activated on. A row is one activation: it ends for good, and the next one is another row.
CREATE TABLE machines (
    id               TEXT COLLATE "C" PRIMARY KEY,
    license_id       TEXT COLLATE "C" NOT NULL REFERENCES licenses (id),
    fingerprint_hash TEXT COLLATE "C" NOT NULL,
    name             TEXT,
    platform         TEXT,
    app_version      TEXT,
    activated_at     TIMESTAMPTZ NOT NULL,
    last_seen_at     TIMESTAMPTZ NOT NULL,
    deactivated_at   TIMESTAMPTZ
);

CREATE INDEX machines_of_license ON machines (license_id, activated_at, id);
-- A machine takes one seat, however often it asks for it.
CREATE UNIQUE INDEX machines_active ON machines (license_id, fingerprint_hash) WHERE deactivated_at IS NULL;
