-- The attempts of a payment intent, by whose names the company may tell of it.
ALTER TABLE charges ADD COLUMN charge_ids JSON NOT NULL DEFAULT '[]';
