-- Whether an invoice is the first of its subscription, by its `billing_reason`.
ALTER TABLE invoices ADD COLUMN is_first INTEGER NOT NULL DEFAULT 0;
