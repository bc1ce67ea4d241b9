-- Operators who signed in at the console. Of what their cookie holds there is only the hash.
CREATE TABLE console_sessions (
    id         TEXT COLLATE "C" PRIMARY KEY,
    token_hash TEXT COLLATE "C" NOT NULL UNIQUE,
    actor      TEXT NOT NULL,
    begun_at   TIMESTAMPTZ NOT NULL,
    seen_at    TIMESTAMPTZ NOT NULL
);

CREATE INDEX console_sessions_by_time ON console_sessions (seen_at, id);
