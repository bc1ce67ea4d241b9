-- What was sold by a session whose event does not say what that was: when Stripe is to be asked for its items next.
ALTER TABLE purchases ADD COLUMN items_due_at TEXT;
UPDATE purchases SET items_due_at = first_seen_at WHERE session_id IS NOT NULL AND items = '[]' AND named_plan_id IS NULL;
