-- outside a transaction
-- Contributions about which something is to be done.
CREATE INDEX CONCURRENTLY IF NOT EXISTS contributions_by_step ON contributions (step_at, id) WHERE step_at IS NOT NULL;
