-- What customers ask of the people behind the product.
CREATE TABLE support_tickets (
    id           TEXT COLLATE "C" PRIMARY KEY,
    number       BIGINT NOT NULL UNIQUE,
    user_id      TEXT COLLATE "C" NOT NULL,
    subject      TEXT NOT NULL,
    category     TEXT,
    priority     TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('open', 'answered', 'closed')),
    license_id   TEXT COLLATE "C",
    last_message BIGINT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL
);

CREATE INDEX support_tickets_by_time ON support_tickets (created_at, id);
CREATE INDEX support_tickets_by_status ON support_tickets (status, created_at, id);
CREATE INDEX support_tickets_of_user ON support_tickets (user_id, created_at, id);
CREATE INDEX support_tickets_of_license ON support_tickets (license_id, created_at, id);

-- What was written in a ticket: `number` is 1, 2, 3 … of its ticket. Notes of operators are `is_internal`.
CREATE TABLE support_messages (
    id          TEXT COLLATE "C" PRIMARY KEY,
    ticket_id   TEXT COLLATE "C" NOT NULL REFERENCES support_tickets (id),
    number      BIGINT NOT NULL,
    at          TIMESTAMPTZ NOT NULL,
    author      TEXT NOT NULL CHECK (author IN ('customer', 'operator')),
    text        TEXT NOT NULL,
    is_internal BOOLEAN NOT NULL,
    UNIQUE (ticket_id, number)
);

-- One row: what numbers tickets. Whoever opens one holds it.
CREATE TABLE support_desks (
    id          TEXT COLLATE "C" PRIMARY KEY,
    last_number BIGINT NOT NULL
);
