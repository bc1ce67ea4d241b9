-- The lists of a user: those of all of its customers, the newest first.
CREATE INDEX api_keys_of_customer_by_time ON api_keys (customer_id, created_at, id);
CREATE INDEX widgets_of_customer_by_time ON widgets (customer_id, created_at, id);
