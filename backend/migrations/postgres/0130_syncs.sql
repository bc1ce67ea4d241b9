-- What one terminal of a licence wants the others to take over, and which of them have to answer. What they answered are
-- acknowledgements of the event that told them; with that event a sync is forgotten.
CREATE TABLE syncs (
    id          TEXT COLLATE "C" PRIMARY KEY,
    event_id    TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES license_events (id) ON DELETE CASCADE,
    license_id  TEXT COLLATE "C" NOT NULL,
    machine_ids JSON NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL
);
