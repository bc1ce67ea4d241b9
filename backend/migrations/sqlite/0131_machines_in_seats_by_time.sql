-- The machines that hold the seats of a licence, the newest first.
CREATE INDEX machines_in_seats_by_time ON machines (seat_of, activated_at, id);
