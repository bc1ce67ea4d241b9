-- Whoever signed in at least once, by the subject of their tokens.
CREATE TABLE users (
    id              TEXT COLLATE "C" PRIMARY KEY,
    email           TEXT,
    name            TEXT,
    has_chosen_name BOOLEAN NOT NULL,
    role            TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL
);
