-- What charts are drawn from: a row for each hour and each day of a metric, and for each key that it is told apart by. `id` is
-- `<metric>/<step>/<Unix seconds>/<key>`; of a quotient `total` is what `value` is divided by.
CREATE TABLE analytics_points (
    id     TEXT PRIMARY KEY,
    metric TEXT NOT NULL,
    step   TEXT NOT NULL CHECK (step IN ('hour', 'day')),
    at     TEXT NOT NULL,
    by_key TEXT NOT NULL,
    value  INTEGER NOT NULL,
    total  INTEGER NOT NULL
) STRICT;

CREATE INDEX analytics_points_by_metric ON analytics_points (metric, step, at);
-- What is too old.
CREATE INDEX analytics_points_by_time ON analytics_points (step, at, id);

-- What each process measured in an hour: how long answers took, how late events were, how many streams were open.
CREATE TABLE analytics_samples (
    id       TEXT PRIMARY KEY,
    hour     TEXT NOT NULL,
    measured TEXT NOT NULL CHECK (json_valid(measured))
) STRICT;

CREATE INDEX analytics_samples_by_hour ON analytics_samples (hour, id);
