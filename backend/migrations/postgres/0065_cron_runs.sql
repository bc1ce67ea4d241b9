-- What was done by the clock: a row for each tick of each job, won by whoever inserts it.
CREATE TABLE cron_runs (
    job         TEXT COLLATE "C" NOT NULL,
    tick        TIMESTAMPTZ NOT NULL,
    holder      TEXT COLLATE "C" NOT NULL,
    attempts    BIGINT NOT NULL,
    started_at  TIMESTAMPTZ NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL,
    ended_at    TIMESTAMPTZ,
    outcome     TEXT CHECK (outcome IN ('succeeded', 'failed')),
    error       TEXT,
    summary     JSON NOT NULL,
    PRIMARY KEY (job, tick)
);

-- A job runs once at a time.
CREATE UNIQUE INDEX cron_runs_in_progress ON cron_runs (job) WHERE ended_at IS NULL;
-- What is too old to be kept.
CREATE INDEX cron_runs_by_tick ON cron_runs (tick, job);
