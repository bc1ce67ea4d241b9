-- Groups that save together: each member pays the same amount on the same dates.
CREATE TABLE pods (
    id                  TEXT PRIMARY KEY,
    name                TEXT NOT NULL,
    description         TEXT,
    is_public           INTEGER NOT NULL,
    invite_code         TEXT NOT NULL,
    creator_id          TEXT,
    amount              INTEGER NOT NULL CHECK (amount > 0),
    currency            TEXT NOT NULL,
    cadence             TEXT NOT NULL,
    contributions_total INTEGER,
    first_date          TEXT NOT NULL,
    moved_dates         TEXT NOT NULL CHECK (json_valid(moved_dates)),
    next_date           TEXT NOT NULL,
    grace_days          INTEGER NOT NULL,
    members_max         INTEGER NOT NULL,
    created_at          TEXT NOT NULL,
    canceled_at         TEXT,
    cancel_reason       TEXT,
    price_id            TEXT,
    moving_since        TEXT
) STRICT;

CREATE INDEX pods_by_time ON pods (created_at, id);
CREATE INDEX pods_by_creator ON pods (creator_id, first_date);
-- What can be joined: the soonest first.
CREATE INDEX pods_by_next_date ON pods (next_date, id) WHERE is_public AND canceled_at IS NULL;

-- Those whose members' subscriptions are to follow a date that was moved.
CREATE INDEX pods_moving ON pods (moving_since, id) WHERE moving_since IS NOT NULL;

-- One user's part in one pod. `seat_of` is pod and user while a seat is held, so that nobody has two.
CREATE TABLE memberships (
    id                    TEXT PRIMARY KEY,
    pod_id                TEXT NOT NULL REFERENCES pods (id),
    user_id               TEXT NOT NULL,
    seat_of               TEXT UNIQUE,
    position              INTEGER NOT NULL,
    customer_id           TEXT,
    payment_method_id     TEXT,
    first_date            TEXT NOT NULL,
    joined_at             TEXT NOT NULL,
    joining_until         TEXT NOT NULL,
    asked_at              TEXT,
    subscription_id       TEXT UNIQUE,
    contributions_total   INTEGER,
    subscription_status   TEXT,
    current_period_end    TEXT,
    leaves_at             TEXT,
    leave_count           INTEGER NOT NULL,
    leave_asked           TEXT,
    ended_here_at         TEXT,
    end_reason            TEXT,
    over_at               TEXT,
    is_over_in_time       INTEGER NOT NULL,
    date_asked            TEXT,
    ended_at              TEXT,
    contribution_progress INTEGER NOT NULL,
    total_contributed     INTEGER NOT NULL,
    pending_amount        INTEGER NOT NULL,
    overdue_amount        INTEGER NOT NULL,
    attempts              INTEGER NOT NULL,
    next_attempt_at       TEXT,
    grace_ends_at         TEXT,
    failure_code          TEXT
) STRICT;

CREATE INDEX memberships_by_pod ON memberships (pod_id, position);
CREATE INDEX memberships_by_user ON memberships (user_id, joined_at, id);
-- Those whose subscriptions are still to be ended at Stripe.
CREATE INDEX memberships_ended_here ON memberships (ended_here_at, id)
    WHERE ended_here_at IS NOT NULL AND subscription_id IS NOT NULL;
CREATE INDEX memberships_by_time ON memberships (joined_at, id);

-- What a membership owes or has paid, one for each invoice over 0.
CREATE TABLE contributions (
    id              TEXT PRIMARY KEY,
    membership_id   TEXT NOT NULL REFERENCES memberships (id),
    pod_id          TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    invoice_id      TEXT UNIQUE,
    reference       TEXT,
    amount          INTEGER NOT NULL,
    amount_paid     INTEGER NOT NULL,
    currency        TEXT NOT NULL,
    status          TEXT NOT NULL,
    invoice_status  TEXT,
    reported_status TEXT,
    due_at          TEXT NOT NULL,
    paid_at         TEXT,
    attempts        INTEGER NOT NULL,
    next_attempt_at TEXT,
    first_failed_at TEXT,
    failure_code    TEXT,
    given_back      TEXT NOT NULL CHECK (json_valid(given_back)),
    refunded        INTEGER NOT NULL,
    created_at      TEXT NOT NULL,
    failed_attempts INTEGER NOT NULL,
    last_failed_at  TEXT,
    asked_at        TEXT NOT NULL CHECK (json_valid(asked_at)),
    asking_until    TEXT,
    asked_since     TEXT
) STRICT;

CREATE INDEX contributions_of_membership ON contributions (membership_id);
CREATE INDEX contributions_by_reference ON contributions (reference);
CREATE INDEX contributions_by_user ON contributions (user_id, pod_id, due_at, id);

-- What the company itself told of payments, by `pi_…`, `in_…` or `ch_…`.
CREATE TABLE reported_payments (
    id              TEXT PRIMARY KEY,
    contribution_id TEXT NOT NULL REFERENCES contributions (id),
    membership_id   TEXT NOT NULL,
    amount          INTEGER NOT NULL,
    currency        TEXT NOT NULL,
    status          TEXT NOT NULL,
    first_at        TEXT NOT NULL,
    failed_at       TEXT,
    succeeded_at    TEXT
) STRICT;

CREATE INDEX reported_payments_of_membership ON reported_payments (membership_id);

-- What was paid out of a pod: book-keeping, no money is moved by it.
CREATE TABLE payouts (
    id            TEXT PRIMARY KEY,
    pod_id        TEXT NOT NULL REFERENCES pods (id),
    membership_id TEXT NOT NULL,
    amount        INTEGER NOT NULL CHECK (amount > 0),
    currency      TEXT NOT NULL,
    reference     TEXT NOT NULL,
    paid_at       TEXT NOT NULL,
    note          TEXT,
    created_at    TEXT NOT NULL,
    UNIQUE (pod_id, reference)
) STRICT;

CREATE INDEX payouts_of_pod ON payouts (pod_id, created_at, id);

-- The membership that a subscription is of, whatever its metadata says later; that a charge was reported for.
ALTER TABLE subscriptions ADD COLUMN membership_id TEXT;
ALTER TABLE charges ADD COLUMN membership_id TEXT;
