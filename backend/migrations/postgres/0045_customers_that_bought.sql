-- Who has bought something once: of everybody else no purchases have to be looked for.
ALTER TABLE customers ADD COLUMN has_purchases BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE customers SET has_purchases = TRUE WHERE id IN (SELECT customer_id FROM purchases);
