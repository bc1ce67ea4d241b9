-- Stripe's id of what a request is about, where it does not name that itself: whoever takes it over is about the same.
ALTER TABLE remembered_requests ADD COLUMN subject TEXT;
