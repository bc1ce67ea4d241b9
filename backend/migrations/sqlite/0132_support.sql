-- What customers ask of the people behind the product.
CREATE TABLE support_tickets (
    id           TEXT PRIMARY KEY,
    number       INTEGER NOT NULL UNIQUE,
    user_id      TEXT NOT NULL,
    subject      TEXT NOT NULL,
    category     TEXT,
    priority     TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('open', 'answered', 'closed')),
    license_id   TEXT,
    last_message INTEGER NOT NULL,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL
) STRICT;

CREATE INDEX support_tickets_by_time ON support_tickets (created_at, id);
CREATE INDEX support_tickets_by_status ON support_tickets (status, created_at, id);
CREATE INDEX support_tickets_of_user ON support_tickets (user_id, created_at, id);
CREATE INDEX support_tickets_of_license ON support_tickets (license_id, created_at, id);

-- What was written in a ticket: `number` is 1, 2, 3 … of its ticket. Notes of operators are `is_internal`.
CREATE TABLE support_messages (
    id          TEXT PRIMARY KEY,
    ticket_id   TEXT NOT NULL REFERENCES support_tickets (id),
    number      INTEGER NOT NULL,
    at          TEXT NOT NULL,
    author      TEXT NOT NULL CHECK (author IN ('customer', 'operator')),
    text        TEXT NOT NULL,
    is_internal INTEGER NOT NULL,
    UNIQUE (ticket_id, number)
) STRICT;

-- One row: what numbers tickets. Whoever opens one holds it.
CREATE TABLE support_desks (
    id          TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL
) STRICT;
