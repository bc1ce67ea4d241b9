-- What operators did, for good: who, to what, why, and what came of it.
CREATE TABLE operator_acts (
    id           TEXT COLLATE "C" PRIMARY KEY,
    at           TIMESTAMPTZ NOT NULL,
    actor        TEXT NOT NULL,
    claimed_name TEXT,
    action       TEXT NOT NULL,
    target_type  TEXT NOT NULL,
    target_id    TEXT COLLATE "C" NOT NULL,
    reason       TEXT,
    request_id   TEXT COLLATE "C" NOT NULL,
    before_act   JSON,
    after_act    JSON
);

CREATE INDEX operator_acts_by_time ON operator_acts (at, id);
CREATE INDEX operator_acts_by_actor ON operator_acts (actor, at, id);
CREATE INDEX operator_acts_by_action ON operator_acts (action, at, id);
CREATE INDEX operator_acts_by_target ON operator_acts (target_id, at, id);
