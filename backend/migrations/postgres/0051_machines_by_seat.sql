-- outside a transaction
-- The machines that hold the seats of a licence.
CREATE INDEX CONCURRENTLY IF NOT EXISTS machines_by_seat ON machines (seat_of, id);
