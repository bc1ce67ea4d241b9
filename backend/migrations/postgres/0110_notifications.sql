-- What people are told: what a user sees in the application, and one row for each message by each channel. What there is
-- one of is a unique constraint, so that nobody is told anything twice.
CREATE TABLE notifications (
    id         TEXT COLLATE "C" PRIMARY KEY,
    once_key   TEXT COLLATE "C" NOT NULL UNIQUE,
    user_id    TEXT COLLATE "C" NOT NULL,
    template   TEXT NOT NULL,
    data       JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    read_at    TIMESTAMPTZ
);

CREATE INDEX notifications_by_user ON notifications (user_id, created_at, id);
CREATE INDEX notifications_unread ON notifications (user_id, created_at, id) WHERE read_at IS NULL;
CREATE INDEX notifications_by_time ON notifications (created_at, id);

-- `next_attempt_at` is when a message is tried next; whoever tries it has put that off until another one may. It is null
-- once the message has ended.
CREATE TABLE messages (
    id              TEXT COLLATE "C" PRIMARY KEY,
    once_key        TEXT COLLATE "C" NOT NULL UNIQUE,
    template        TEXT COLLATE "C" NOT NULL,
    channel         TEXT COLLATE "C" NOT NULL,
    queue           TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C",
    customer_id     TEXT COLLATE "C",
    notification_id TEXT COLLATE "C",
    device_id       TEXT COLLATE "C",
    data            JSON NOT NULL,
    status          TEXT COLLATE "C" NOT NULL CHECK (status IN ('queued', 'sent', 'skipped', 'dead_lettered')),
    reason          TEXT,
    attempts        BIGINT NOT NULL,
    last_error      TEXT,
    event_id        TEXT COLLATE "C",
    created_at      TIMESTAMPTZ NOT NULL,
    next_attempt_at TIMESTAMPTZ,
    sent_at         TIMESTAMPTZ,
    CHECK ((next_attempt_at IS NOT NULL) = (status = 'queued'))
);

CREATE INDEX messages_due ON messages (queue, next_attempt_at, id) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX messages_by_time ON messages (created_at, id);
CREATE INDEX messages_by_status ON messages (status, created_at, id);
CREATE INDEX messages_by_template ON messages (template, created_at, id);
CREATE INDEX messages_by_user ON messages (user_id, created_at, id);
CREATE INDEX messages_of_customers ON messages (customer_id, created_at, id);
CREATE INDEX messages_of_events ON messages (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX messages_sent ON messages (user_id, sent_at) WHERE sent_at IS NOT NULL;

-- What a user wants to be told, in which language and zone; of a customer of nobody by the customer's id.
CREATE TABLE notification_preferences (
    recipient_id TEXT COLLATE "C" PRIMARY KEY,
    locale       TEXT NOT NULL,
    timezone     TEXT NOT NULL,
    email_is_on  BOOLEAN NOT NULL,
    push_is_on   BOOLEAN NOT NULL,
    categories   JSON NOT NULL
);

-- Where a user's pushes go. One browser, or one app's token, is one device, whoever signs in there.
CREATE TABLE devices (
    id           TEXT COLLATE "C" PRIMARY KEY,
    user_id      TEXT COLLATE "C" NOT NULL,
    kind         TEXT NOT NULL,
    platform     TEXT,
    name         TEXT,
    address_hash TEXT COLLATE "C" NOT NULL UNIQUE,
    address      TEXT NOT NULL,
    p256dh       TEXT,
    auth         TEXT,
    created_at   TIMESTAMPTZ NOT NULL,
    last_sent_at TIMESTAMPTZ
);

CREATE INDEX devices_of_users ON devices (user_id, created_at, id);
