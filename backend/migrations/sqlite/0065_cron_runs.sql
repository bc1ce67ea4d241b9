-- What was done by the clock: a row for each tick of each job, won by whoever inserts it.
CREATE TABLE cron_runs (
    job         TEXT NOT NULL,
    tick        TEXT NOT NULL,
    holder      TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    started_at  TEXT NOT NULL,
    lease_until TEXT NOT NULL,
    ended_at    TEXT,
    outcome     TEXT CHECK (outcome IN ('succeeded', 'failed')),
    error       TEXT,
    summary     TEXT NOT NULL CHECK (json_valid(summary)),
    PRIMARY KEY (job, tick)
) STRICT;

-- A job runs once at a time.
CREATE UNIQUE INDEX cron_runs_in_progress ON cron_runs (job) WHERE ended_at IS NULL;
-- What is too old to be kept.
CREATE INDEX cron_runs_by_tick ON cron_runs (tick, job);
