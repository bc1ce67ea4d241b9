-- Requests with an Idempotency-Key: who carries one out, and what it was answered. `id` is of user, route and key, which are
-- not kept; `answer` is encrypted.
CREATE TABLE remembered_requests (
    id           TEXT COLLATE "C" PRIMARY KEY,
    request_hash TEXT NOT NULL,
    first_at     TIMESTAMPTZ NOT NULL,
    holder       TEXT NOT NULL,
    held_until   TIMESTAMPTZ NOT NULL,
    status       BIGINT,
    answer       BYTEA,
    expires_at   TIMESTAMPTZ NOT NULL
);

-- What is to be forgotten.
CREATE INDEX remembered_requests_by_expiry ON remembered_requests (expires_at, id);
