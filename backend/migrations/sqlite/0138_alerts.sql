-- What operators are told that is amiss: one row for each alert that ever fired, by its name and labels.
CREATE TABLE alerts (
    fingerprint     TEXT PRIMARY KEY,
    alert           TEXT NOT NULL,
    severity        TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
    labels          TEXT NOT NULL CHECK (json_valid(labels)),
    summary         TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
    starts_at       TEXT NOT NULL,
    ends_at         TEXT,
    good_judgements INTEGER NOT NULL,
    told_at         TEXT,
    silenced_until  TEXT,
    CHECK ((ends_at IS NOT NULL) = (status = 'resolved'))
) STRICT;

CREATE INDEX alerts_by_time ON alerts (starts_at, fingerprint);
CREATE INDEX alerts_by_status ON alerts (status, starts_at, fingerprint);

-- One row: what is remembered from one judgement to the next. Whoever judges holds it.
CREATE TABLE alert_watches (
    id        TEXT PRIMARY KEY,
    began_at  TEXT NOT NULL,
    judged_at TEXT,
    relays    TEXT NOT NULL CHECK (json_valid(relays))
) STRICT;

-- What people are told of alerts: one row a destination. `next_attempt_at` is when it is tried next; whoever tries it has
-- put that off. It is null once it has ended.
CREATE TABLE alert_messages (
    id              TEXT PRIMARY KEY,
    fingerprint     TEXT NOT NULL,
    destination     TEXT NOT NULL,
    told            TEXT NOT NULL CHECK (json_valid(told)),
    status          TEXT NOT NULL CHECK (status IN ('queued', 'sent', 'superseded', 'failed')),
    attempts        INTEGER NOT NULL,
    last_error      TEXT,
    created_at      TEXT NOT NULL,
    next_attempt_at TEXT,
    CHECK ((next_attempt_at IS NOT NULL) = (status = 'queued'))
) STRICT;

CREATE INDEX alert_messages_due ON alert_messages (next_attempt_at, id) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX alert_messages_queued ON alert_messages (fingerprint) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX alert_messages_by_time ON alert_messages (created_at, id);
