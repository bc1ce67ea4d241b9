-- The machines that hold the seats of a licence.
CREATE INDEX machines_by_seat ON machines (seat_of, id);
