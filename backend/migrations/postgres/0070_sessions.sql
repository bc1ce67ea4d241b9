-- Whether the app of a machine is there: one row a machine, opened by its first stream or heartbeat and renewed by every
-- further one. `stale_at` is when it was found that nothing had been heard of it for too long.
CREATE TABLE sessions (
    machine_id   TEXT COLLATE "C" PRIMARY KEY REFERENCES machines (id),
    id           TEXT COLLATE "C" NOT NULL UNIQUE,
    transport    TEXT NOT NULL CHECK (transport IN ('stream', 'heartbeat')),
    connected_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    stale_at     TIMESTAMPTZ
);

CREATE INDEX sessions_open ON sessions (last_seen_at, machine_id) WHERE stale_at IS NULL;
CREATE INDEX sessions_stale ON sessions (stale_at, machine_id) WHERE stale_at IS NOT NULL;
