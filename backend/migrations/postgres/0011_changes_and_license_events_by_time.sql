-- outside a transaction
-- What is too old to be kept, and what happened in a span of time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS changes_by_time ON changes (at, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS license_events_by_time ON license_events (created_at, id);
