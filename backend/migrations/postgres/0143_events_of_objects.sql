-- outside a transaction
-- Of an object that names no customer its events are all that operators can look for.
CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_events_of_object ON webhook_events (object_id, received_at, id) WHERE customer_id IS NULL AND object_id IS NOT NULL;
