-- What Stripe is to be asked for: next to nothing at any moment.
CREATE INDEX purchases_by_items_due ON purchases (items_due_at, id) WHERE items_due_at IS NOT NULL;
