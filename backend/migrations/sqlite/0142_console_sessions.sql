-- Operators who signed in at the console. Of what their cookie holds there is only the hash.
CREATE TABLE console_sessions (
    id         TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    actor      TEXT NOT NULL,
    begun_at   TEXT NOT NULL,
    seen_at    TEXT NOT NULL
) STRICT;

CREATE INDEX console_sessions_by_time ON console_sessions (seen_at, id);
