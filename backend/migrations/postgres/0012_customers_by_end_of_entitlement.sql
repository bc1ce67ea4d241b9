-- outside a transaction
-- Whose entitlement ends by time alone, page by page in the order of those ends.
CREATE INDEX CONCURRENTLY IF NOT EXISTS customers_by_end_of_entitlement ON customers (entitled_until, id) WHERE entitled_until IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS customers_entitled_until;
