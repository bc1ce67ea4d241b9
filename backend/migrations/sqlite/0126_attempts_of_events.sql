-- What was tried with events, and by name which rows that changed: a row for each transaction, however many events it took.
-- Its ids are in the order of time.
CREATE TABLE webhook_batches (
    id       TEXT PRIMARY KEY,
    at       TEXT NOT NULL,
    attempts TEXT NOT NULL CHECK (json_valid(attempts))
) STRICT;

-- The transaction in which an event was last tried, and the request that brought it.
ALTER TABLE webhook_events ADD COLUMN batch_id TEXT;
ALTER TABLE webhook_events ADD COLUMN request_id TEXT;
