-- outside a transaction
-- The newest first, by status and by type: a list of any status merges the four of them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_events_by_status ON webhook_events (status, received_at, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_events_by_type ON webhook_events (type, status, received_at, id);
-- What the two answer as well.
DROP INDEX CONCURRENTLY IF EXISTS webhook_events_received;
DROP INDEX CONCURRENTLY IF EXISTS webhook_events_in_trouble;
-- Only a failed one has a next attempt; by its status an engine could take another index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_events_by_next_attempt ON webhook_events (next_attempt_at, id) WHERE next_attempt_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS webhook_events_due;
