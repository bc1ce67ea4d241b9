-- What was seen that somebody should hear of: prices that no plan matches, versions that are new to us. One row each, with
-- when it was last seen.
CREATE TABLE sightings (
    id      TEXT PRIMARY KEY,
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    seen_at TEXT NOT NULL
) STRICT;

CREATE INDEX sightings_by_time ON sightings (kind, seen_at, id);

-- How many calls were made to Stripe in a minute, over all processes, and how many of them failed.
CREATE TABLE stripe_calls (
    minute TEXT PRIMARY KEY,
    calls  INTEGER NOT NULL,
    failed INTEGER NOT NULL
) STRICT;
