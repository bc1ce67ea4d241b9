-- What a person should look at, because nothing tries it again by itself: events of Stripe, events that a machine did not
-- take, messages.
CREATE TABLE dead_letters (
    id             TEXT COLLATE "C" PRIMARY KEY,
    source         TEXT NOT NULL CHECK (source IN ('webhook', 'delivery', 'desktop', 'notification')),
    event_id       TEXT COLLATE "C" NOT NULL,
    machine_id     TEXT COLLATE "C",
    license_id     TEXT COLLATE "C",
    customer_id    TEXT COLLATE "C",
    type           TEXT NOT NULL,
    reason         TEXT NOT NULL,
    attempts       BIGINT NOT NULL,
    status         TEXT NOT NULL CHECK (status IN ('open', 'retrying', 'resolved')),
    created_at     TIMESTAMPTZ NOT NULL,
    last_failed_at TIMESTAMPTZ NOT NULL,
    retried_at     TIMESTAMPTZ,
    retried_by     TEXT,
    resolved_at    TIMESTAMPTZ,
    resolved_by    TEXT,
    note           TEXT,
    CHECK ((machine_id IS NOT NULL) = (source IN ('delivery', 'desktop')))
);

-- One for each event, or message; of what machines did not take one for each machine and type, so that no holder of a key
-- can bury the others.
CREATE UNIQUE INDEX dead_letters_of_events ON dead_letters (event_id) WHERE machine_id IS NULL;
CREATE UNIQUE INDEX dead_letters_of_machines ON dead_letters (machine_id, type) WHERE machine_id IS NOT NULL AND status <> 'resolved';
CREATE INDEX dead_letters_by_event ON dead_letters (event_id);
CREATE INDEX dead_letters_of_licenses ON dead_letters (license_id, status);
-- The newest first; a list of any status or source merges those of each.
CREATE INDEX dead_letters_by_status ON dead_letters (status, source, created_at, id);
CREATE INDEX dead_letters_by_type ON dead_letters (type, status, source, created_at, id);

INSERT INTO dead_letters
    (id, source, event_id, customer_id, type, reason, attempts, status, created_at, last_failed_at)
SELECT 'dl_' || md5(id), 'webhook', id, customer_id, type, substr(COALESCE(reason, last_error, 'unknown'), 1, 500), attempts,
       'open', COALESCE(processed_at, received_at), COALESCE(processed_at, received_at)
FROM webhook_events
WHERE status = 'dead_lettered';
