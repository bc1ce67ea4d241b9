-- The licence whose seat a machine holds: none once it was deactivated. Those that hold one are found by it without the
-- others, of which there may be any number.
ALTER TABLE machines ADD COLUMN seat_of TEXT;
UPDATE machines SET seat_of = license_id WHERE deactivated_at IS NULL;

-- When a licence will end, as far as is known: with the grace of its subscription's overdue payment, and with the end of
-- the subscription that was announced.
ALTER TABLE licenses ADD COLUMN grace_ends_at TEXT;
ALTER TABLE licenses ADD COLUMN cancels_at TEXT;
UPDATE licenses
SET grace_ends_at = (SELECT entitled_until FROM customers WHERE customers.id = licenses.customer_id)
WHERE customer_id IN (SELECT id FROM customers WHERE entitled_until IS NOT NULL);
UPDATE licenses
SET cancels_at =
    (SELECT CASE WHEN cancel_at IS NOT NULL THEN cancel_at WHEN cancel_at_period_end THEN current_period_end END
     FROM customers
     JOIN subscriptions ON subscriptions.id = customers.current_subscription_id
     WHERE customers.id = licenses.customer_id)
WHERE status = 'active';
