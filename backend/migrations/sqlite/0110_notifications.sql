-- What people are told: what a user sees in the application, and one row for each message by each channel. What there is
-- one of is a unique constraint, so that nobody is told anything twice.
CREATE TABLE notifications (
    id         TEXT PRIMARY KEY,
    once_key   TEXT NOT NULL UNIQUE,
    user_id    TEXT NOT NULL,
    template   TEXT NOT NULL,
    data       TEXT NOT NULL CHECK (json_valid(data)),
    created_at TEXT NOT NULL,
    read_at    TEXT
) STRICT;

CREATE INDEX notifications_by_user ON notifications (user_id, created_at, id);
CREATE INDEX notifications_unread ON notifications (user_id, created_at, id) WHERE read_at IS NULL;
CREATE INDEX notifications_by_time ON notifications (created_at, id);

-- `next_attempt_at` is when a message is tried next; whoever tries it has put that off until another one may. It is null
-- once the message has ended.
CREATE TABLE messages (
    id              TEXT PRIMARY KEY,
    once_key        TEXT NOT NULL UNIQUE,
    template        TEXT NOT NULL,
    channel         TEXT NOT NULL,
    queue           TEXT NOT NULL,
    user_id         TEXT,
    customer_id     TEXT,
    notification_id TEXT,
    device_id       TEXT,
    data            TEXT NOT NULL CHECK (json_valid(data)),
    status          TEXT NOT NULL CHECK (status IN ('queued', 'sent', 'skipped', 'dead_lettered')),
    reason          TEXT,
    attempts        INTEGER NOT NULL,
    last_error      TEXT,
    event_id        TEXT,
    created_at      TEXT NOT NULL,
    next_attempt_at TEXT,
    sent_at         TEXT,
    CHECK ((next_attempt_at IS NOT NULL) = (status = 'queued'))
) STRICT;

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
    recipient_id TEXT PRIMARY KEY,
    locale       TEXT NOT NULL,
    timezone     TEXT NOT NULL,
    email_is_on  INTEGER NOT NULL,
    push_is_on   INTEGER NOT NULL,
    categories   TEXT NOT NULL CHECK (json_valid(categories))
) STRICT;

-- Where a user's pushes go. One browser, or one app's token, is one device, whoever signs in there.
CREATE TABLE devices (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    platform     TEXT,
    name         TEXT,
    address_hash TEXT NOT NULL UNIQUE,
    address      TEXT NOT NULL,
    p256dh       TEXT,
    auth         TEXT,
    created_at   TEXT NOT NULL,
    last_sent_at TEXT
) STRICT;

CREATE INDEX devices_of_users ON devices (user_id, created_at, id);
