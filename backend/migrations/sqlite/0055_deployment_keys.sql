-- Keys that are made once and are the same for every replica, each sealed under ENCRYPTION_KEY: what signs leases, and what
-- fingerprints of machines are hashed with.
CREATE TABLE deployment_keys (
    name       TEXT PRIMARY KEY CHECK (name IN ('fingerprint', 'lease')),
    sealed     BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
