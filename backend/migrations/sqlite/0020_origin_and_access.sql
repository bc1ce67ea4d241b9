-- Whose and of which mode an object is: later it could only be had from the payloads.
ALTER TABLE customers ADD COLUMN account TEXT;
ALTER TABLE customers ADD COLUMN livemode INTEGER;
ALTER TABLE subscriptions ADD COLUMN account TEXT;
ALTER TABLE subscriptions ADD COLUMN livemode INTEGER;
ALTER TABLE invoices ADD COLUMN account TEXT;
ALTER TABLE invoices ADD COLUMN livemode INTEGER;

-- What sessions and invoices call a customer that has no snapshot of its own.
ALTER TABLE customers ADD COLUMN contact TEXT CHECK (json_valid(contact));

-- The plans that a customer's rows were computed by. Whoever has other plans computes them again; nobody has the digest ''.
ALTER TABLE customers ADD COLUMN plans_digest TEXT NOT NULL DEFAULT '';
CREATE INDEX customers_by_plans ON customers (plans_digest, id);

-- Since when a subscription has been past due.
ALTER TABLE subscriptions ADD COLUMN past_due TEXT CHECK (json_valid(past_due));
ALTER TABLE subscriptions ADD COLUMN latest_invoice_id TEXT;
ALTER TABLE invoices ADD COLUMN due_at TEXT;

-- What ends a subscription without a word about it.
ALTER TABLE subscriptions ADD COLUMN customer_deleted_at TEXT;

-- The order of a customer's audit log: several entries have one time, and their ids are random within it.
ALTER TABLE customers ADD COLUMN last_change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE changes ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
CREATE INDEX changes_numbered ON changes (customer_id, number, id);
