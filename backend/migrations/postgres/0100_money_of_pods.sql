-- The pod that a subscription pays into: it is no plan then. Of an invoice, by its own copy of the subscription's metadata.
ALTER TABLE subscriptions ADD COLUMN pod_id TEXT COLLATE "C";
ALTER TABLE invoices ADD COLUMN pod_id TEXT COLLATE "C";

-- How many attempts to pay an invoice are known to have failed, and when the last one did: one that was made and did not is
-- under way.
ALTER TABLE invoices ADD COLUMN failed_attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE invoices ADD COLUMN last_failed_at TIMESTAMPTZ;
