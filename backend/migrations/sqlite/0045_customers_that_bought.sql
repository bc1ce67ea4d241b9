-- Who has bought something once: of everybody else no purchases have to be looked for.
ALTER TABLE customers ADD COLUMN has_purchases INTEGER NOT NULL DEFAULT 0;
UPDATE customers SET has_purchases = 1 WHERE id IN (SELECT customer_id FROM purchases);
