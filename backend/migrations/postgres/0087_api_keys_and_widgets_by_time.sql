-- outside a transaction
-- The lists of a user: those of all of its customers, the newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS api_keys_of_customer_by_time ON api_keys (customer_id, created_at, id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS widgets_of_customer_by_time ON widgets (customer_id, created_at, id);
