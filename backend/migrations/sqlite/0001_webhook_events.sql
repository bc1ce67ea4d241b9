-- Every event that was taken, with its very bytes and what became of it. The row is the claim: who inserts it may act on it.
CREATE TABLE webhook_events (
    id              TEXT PRIMARY KEY,
    type            TEXT NOT NULL,
    api_version     TEXT,
    livemode        INTEGER,
    account         TEXT,
    object_id       TEXT,
    customer_id     TEXT,
    status          TEXT NOT NULL CHECK (status IN ('processed', 'failed', 'dead_lettered', 'ignored')),
    reason          TEXT,
    attempts        INTEGER NOT NULL,
    last_error      TEXT,
    created_at      TEXT,
    received_at     TEXT NOT NULL,
    processed_at    TEXT,
    next_attempt_at TEXT,
    payload         BLOB NOT NULL
) STRICT;

-- Newest first, all and by customer.
CREATE INDEX webhook_events_received ON webhook_events (received_at, id);
CREATE INDEX webhook_events_of_customer ON webhook_events (customer_id, received_at, id) WHERE customer_id IS NOT NULL;
-- What an operator looks for first, and what the retry job asks for every second.
CREATE INDEX webhook_events_in_trouble ON webhook_events (status, received_at, id) WHERE status IN ('failed', 'dead_lettered');
CREATE INDEX webhook_events_due ON webhook_events (next_attempt_at) WHERE status = 'failed';
