-- The event of Stripe's that an event of a licence's log tells of.
ALTER TABLE license_events ADD COLUMN stripe_event_id TEXT;
