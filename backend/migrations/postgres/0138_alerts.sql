-- What operators are told that is amiss: one row for each alert that ever fired, by its name and labels.
CREATE TABLE alerts (
    fingerprint     TEXT COLLATE "C" PRIMARY KEY,
    alert           TEXT NOT NULL,
    severity        TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
    labels          JSON NOT NULL,
    summary         TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
    starts_at       TIMESTAMPTZ NOT NULL,
    ends_at         TIMESTAMPTZ,
    good_judgements BIGINT NOT NULL,
    told_at         TIMESTAMPTZ,
    silenced_until  TIMESTAMPTZ,
    CHECK ((ends_at IS NOT NULL) = (status = 'resolved'))
);

CREATE INDEX alerts_by_time ON alerts (starts_at, fingerprint);
CREATE INDEX alerts_by_status ON alerts (status, starts_at, fingerprint);

-- One row: what is remembered from one judgement to the next. Whoever judges holds it.
CREATE TABLE alert_watches (
    id        TEXT COLLATE "C" PRIMARY KEY,
    began_at  TIMESTAMPTZ NOT NULL,
    judged_at TIMESTAMPTZ,
    relays    JSON NOT NULL
);

-- What people are told of alerts: one row a destination. `next_attempt_at` is when it is tried next; whoever tries it has
-- put that off. It is null once it has ended.
CREATE TABLE alert_messages (
    id              TEXT COLLATE "C" PRIMARY KEY,
    fingerprint     TEXT COLLATE "C" NOT NULL,
    destination     TEXT NOT NULL,
    told            JSON NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('queued', 'sent', 'superseded', 'failed')),
    attempts        BIGINT NOT NULL,
    last_error      TEXT,
    created_at      TIMESTAMPTZ NOT NULL,
    next_attempt_at TIMESTAMPTZ,
    CHECK ((next_attempt_at IS NOT NULL) = (status = 'queued'))
);

CREATE INDEX alert_messages_due ON alert_messages (next_attempt_at, id) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX alert_messages_queued ON alert_messages (fingerprint) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX alert_messages_by_time ON alert_messages (created_at, id);
