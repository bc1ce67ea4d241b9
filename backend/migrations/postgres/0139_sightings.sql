-- What was seen that somebody should hear of: prices that no plan matches, versions that are new to us. One row each, with
-- when it was last seen.
CREATE TABLE sightings (
    id      TEXT COLLATE "C" PRIMARY KEY,
    kind    TEXT COLLATE "C" NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX sightings_by_time ON sightings (kind, seen_at, id);

-- How many calls were made to Stripe in a minute, over all processes, and how many of them failed.
CREATE TABLE stripe_calls (
    minute TIMESTAMPTZ PRIMARY KEY,
    calls  BIGINT NOT NULL,
    failed BIGINT NOT NULL
);
