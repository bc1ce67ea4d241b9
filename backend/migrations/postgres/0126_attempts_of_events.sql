-- What was tried with events, and by name which rows that changed: a row for each transaction, however many events it took.
-- Its ids are in the order of time.
CREATE TABLE webhook_batches (
    id       TEXT COLLATE "C" PRIMARY KEY,
    at       TIMESTAMPTZ NOT NULL,
    attempts JSON NOT NULL
);

-- The transaction in which an event was last tried, and the request that brought it.
ALTER TABLE webhook_events ADD COLUMN batch_id TEXT COLLATE "C";
ALTER TABLE webhook_events ADD COLUMN request_id TEXT COLLATE "C";

-- lz4 costs half of what pglz does at an insert.
ALTER TABLE webhook_batches ALTER COLUMN attempts SET COMPRESSION lz4;
