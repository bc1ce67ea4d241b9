-- outside a transaction
-- Newer indices serve what these did: each cost every event a write. Lists of changes go by time, keys too.
DROP INDEX CONCURRENTLY IF EXISTS changes_of_customer;
DROP INDEX CONCURRENTLY IF EXISTS changes_numbered;
DROP INDEX CONCURRENTLY IF EXISTS api_keys_of_customer;
