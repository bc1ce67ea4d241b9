-- What apps say of the events that they were told: one row an event and machine. `id` is `<event_id>/<machine_id>`; of
-- machines that nobody knows there is one row an event. Nothing of the licence is locked for it: a key of `licenses` would be.
CREATE TABLE acknowledgements (
    id              TEXT COLLATE "C" PRIMARY KEY,
    event_id        TEXT COLLATE "C" NOT NULL REFERENCES license_events (id) ON DELETE CASCADE,
    license_id      TEXT COLLATE "C" NOT NULL,
    machine_id      TEXT COLLATE "C",
    status          TEXT NOT NULL CHECK (status IN ('processed', 'failed')),
    error           TEXT,
    acknowledged_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX acknowledgements_of_event ON acknowledgements (event_id, acknowledged_at, id);
CREATE INDEX acknowledgements_of_license ON acknowledgements (license_id, acknowledged_at, id);
