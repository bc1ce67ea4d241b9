-- A user's history: that of all of its customers, by time.
CREATE INDEX changes_of_customer_by_time ON changes (customer_id, at, number, id);
