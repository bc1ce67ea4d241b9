-- What one terminal of a licence wants the others to take over, and which of them have to answer. What they answered are
-- acknowledgements of the event that told them; with that event a sync is forgotten.
CREATE TABLE syncs (
    id          TEXT PRIMARY KEY,
    event_id    TEXT NOT NULL UNIQUE REFERENCES license_events (id) ON DELETE CASCADE,
    license_id  TEXT NOT NULL,
    machine_ids TEXT NOT NULL CHECK (json_valid(machine_ids)),
    created_at  TEXT NOT NULL
) STRICT;
