-- Requests with an Idempotency-Key: who carries one out, and what it was answered. `id` is of user, route and key, which are
-- not kept; `answer` is encrypted.
CREATE TABLE remembered_requests (
    id           TEXT PRIMARY KEY,
    request_hash TEXT NOT NULL,
    first_at     TEXT NOT NULL,
    holder       TEXT NOT NULL,
    held_until   TEXT NOT NULL,
    status       INTEGER,
    answer       BLOB,
    expires_at   TEXT NOT NULL
) STRICT;

-- What is to be forgotten.
CREATE INDEX remembered_requests_by_expiry ON remembered_requests (expires_at, id);
