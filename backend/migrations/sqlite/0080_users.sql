-- Whoever signed in at least once, by the subject of their tokens.
CREATE TABLE users (
    id              TEXT PRIMARY KEY,
    email           TEXT,
    name            TEXT,
    has_chosen_name INTEGER NOT NULL,
    role            TEXT NOT NULL,
    created_at      TEXT NOT NULL
) STRICT;
