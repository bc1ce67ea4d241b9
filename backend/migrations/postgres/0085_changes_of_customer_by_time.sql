-- outside a transaction
-- A user's history: that of all of its customers, by time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS changes_of_customer_by_time ON changes (customer_id, at, number, id);
