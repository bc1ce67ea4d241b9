-- The activations of a machine, those that have ended too.
CREATE INDEX machines_by_fingerprint ON machines (license_id, fingerprint_hash, activated_at, id);
