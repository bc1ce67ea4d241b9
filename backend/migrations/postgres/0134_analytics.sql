-- What charts are drawn from: a row for each hour and each day of a metric, and for each key that it is told apart by. `id` is
-- `<metric>/<step>/<Unix seconds>/<key>`; of a quotient `total` is what `value` is divided by.
CREATE TABLE analytics_points (
    id     TEXT COLLATE "C" PRIMARY KEY,
    metric TEXT COLLATE "C" NOT NULL,
    step   TEXT COLLATE "C" NOT NULL CHECK (step IN ('hour', 'day')),
    at     TIMESTAMPTZ NOT NULL,
    by_key TEXT NOT NULL,
    value  BIGINT NOT NULL,
    total  BIGINT NOT NULL
);

CREATE INDEX analytics_points_by_metric ON analytics_points (metric, step, at);
-- What is too old.
CREATE INDEX analytics_points_by_time ON analytics_points (step, at, id);

-- What each process measured in an hour: how long answers took, how late events were, how many streams were open.
CREATE TABLE analytics_samples (
    id       TEXT COLLATE "C" PRIMARY KEY,
    hour     TIMESTAMPTZ NOT NULL,
    measured JSON NOT NULL
);

CREATE INDEX analytics_samples_by_hour ON analytics_samples (hour, id);
