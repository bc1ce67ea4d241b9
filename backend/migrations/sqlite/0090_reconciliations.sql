-- What is compared with Stripe: the newest run of each kind, and what it has still to read.
CREATE TABLE reconciliations (
    name      TEXT NOT NULL PRIMARY KEY,
    since     TEXT,
    began_at  TEXT NOT NULL,
    ended_at  TEXT,
    remaining TEXT NOT NULL CHECK (json_valid(remaining)),
    objects   INTEGER NOT NULL,
    found     INTEGER NOT NULL,
    unmended  INTEGER NOT NULL
) STRICT;
