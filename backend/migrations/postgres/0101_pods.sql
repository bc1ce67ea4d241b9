-- Groups that save together: each member pays the same amount on the same dates.
CREATE TABLE pods (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    name                TEXT NOT NULL,
    description         TEXT,
    is_public           BOOLEAN NOT NULL,
    invite_code         TEXT NOT NULL,
    creator_id          TEXT COLLATE "C",
    amount              BIGINT NOT NULL CHECK (amount > 0),
    currency            TEXT NOT NULL,
    cadence             TEXT NOT NULL,
    contributions_total BIGINT,
    first_date          TIMESTAMPTZ NOT NULL,
    moved_dates         JSON NOT NULL,
    next_date           TIMESTAMPTZ NOT NULL,
    grace_days          BIGINT NOT NULL,
    members_max         BIGINT NOT NULL,
    created_at          TIMESTAMPTZ NOT NULL,
    canceled_at         TIMESTAMPTZ,
    cancel_reason       TEXT,
    price_id            TEXT COLLATE "C",
    moving_since        TIMESTAMPTZ
);

CREATE INDEX pods_by_time ON pods (created_at, id);
CREATE INDEX pods_by_creator ON pods (creator_id, first_date);
-- What can be joined: the soonest first.
CREATE INDEX pods_by_next_date ON pods (next_date, id) WHERE is_public AND canceled_at IS NULL;

-- Those whose members' subscriptions are to follow a date that was moved.
CREATE INDEX pods_moving ON pods (moving_since, id) WHERE moving_since IS NOT NULL;

-- One user's part in one pod. `seat_of` is pod and user while a seat is held, so that nobody has two.
CREATE TABLE memberships (
    id                    TEXT COLLATE "C" PRIMARY KEY,
    pod_id                TEXT COLLATE "C" NOT NULL REFERENCES pods (id),
    user_id               TEXT COLLATE "C" NOT NULL,
    seat_of               TEXT COLLATE "C" UNIQUE,
    position              BIGINT NOT NULL,
    customer_id           TEXT COLLATE "C",
    payment_method_id     TEXT COLLATE "C",
    first_date            TIMESTAMPTZ NOT NULL,
    joined_at             TIMESTAMPTZ NOT NULL,
    joining_until         TIMESTAMPTZ NOT NULL,
    asked_at              TIMESTAMPTZ,
    subscription_id       TEXT COLLATE "C" UNIQUE,
    contributions_total   BIGINT,
    subscription_status   TEXT,
    current_period_end    TIMESTAMPTZ,
    leaves_at             TIMESTAMPTZ,
    leave_count           BIGINT NOT NULL,
    leave_asked           TEXT,
    ended_here_at         TIMESTAMPTZ,
    end_reason            TEXT,
    over_at               TIMESTAMPTZ,
    is_over_in_time       BOOLEAN NOT NULL,
    date_asked            TIMESTAMPTZ,
    ended_at              TIMESTAMPTZ,
    contribution_progress BIGINT NOT NULL,
    total_contributed     BIGINT NOT NULL,
    pending_amount        BIGINT NOT NULL,
    overdue_amount        BIGINT NOT NULL,
    attempts              BIGINT NOT NULL,
    next_attempt_at       TIMESTAMPTZ,
    grace_ends_at         TIMESTAMPTZ,
    failure_code          TEXT
);

CREATE INDEX memberships_by_pod ON memberships (pod_id, position);
CREATE INDEX memberships_by_user ON memberships (user_id, joined_at, id);
-- Those whose subscriptions are still to be ended at Stripe.
CREATE INDEX memberships_ended_here ON memberships (ended_here_at, id)
    WHERE ended_here_at IS NOT NULL AND subscription_id IS NOT NULL;
CREATE INDEX memberships_by_time ON memberships (joined_at, id);

-- What a membership owes or has paid, one for each invoice over 0.
CREATE TABLE contributions (
    id              TEXT COLLATE "C" PRIMARY KEY,
    membership_id   TEXT COLLATE "C" NOT NULL REFERENCES memberships (id),
    pod_id          TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C" NOT NULL,
    invoice_id      TEXT COLLATE "C" UNIQUE,
    reference       TEXT COLLATE "C",
    amount          BIGINT NOT NULL,
    amount_paid     BIGINT NOT NULL,
    currency        TEXT NOT NULL,
    status          TEXT NOT NULL,
    invoice_status  TEXT,
    reported_status TEXT,
    due_at          TIMESTAMPTZ NOT NULL,
    paid_at         TIMESTAMPTZ,
    attempts        BIGINT NOT NULL,
    next_attempt_at TIMESTAMPTZ,
    first_failed_at TIMESTAMPTZ,
    failure_code    TEXT,
    given_back      JSON NOT NULL,
    refunded        BIGINT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    failed_attempts BIGINT NOT NULL,
    last_failed_at  TIMESTAMPTZ,
    asked_at        JSON NOT NULL,
    asking_until    TIMESTAMPTZ,
    asked_since     TIMESTAMPTZ
);

CREATE INDEX contributions_of_membership ON contributions (membership_id);
CREATE INDEX contributions_by_reference ON contributions (reference);
CREATE INDEX contributions_by_user ON contributions (user_id, pod_id, due_at, id);

-- What the company itself told of payments, by `pi_…`, `in_…` or `ch_…`.
CREATE TABLE reported_payments (
    id              TEXT COLLATE "C" PRIMARY KEY,
    contribution_id TEXT COLLATE "C" NOT NULL REFERENCES contributions (id),
    membership_id   TEXT COLLATE "C" NOT NULL,
    amount          BIGINT NOT NULL,
    currency        TEXT NOT NULL,
    status          TEXT NOT NULL,
    first_at        TIMESTAMPTZ NOT NULL,
    failed_at       TIMESTAMPTZ,
    succeeded_at    TIMESTAMPTZ
);

CREATE INDEX reported_payments_of_membership ON reported_payments (membership_id);

-- What was paid out of a pod: book-keeping, no money is moved by it.
CREATE TABLE payouts (
    id            TEXT COLLATE "C" PRIMARY KEY,
    pod_id        TEXT COLLATE "C" NOT NULL REFERENCES pods (id),
    membership_id TEXT COLLATE "C" NOT NULL,
    amount        BIGINT NOT NULL CHECK (amount > 0),
    currency      TEXT NOT NULL,
    reference     TEXT NOT NULL,
    paid_at       TIMESTAMPTZ NOT NULL,
    note          TEXT,
    created_at    TIMESTAMPTZ NOT NULL,
    UNIQUE (pod_id, reference)
);

CREATE INDEX payouts_of_pod ON payouts (pod_id, created_at, id);

-- The membership that a subscription is of, whatever its metadata says later; that a charge was reported for.
ALTER TABLE subscriptions ADD COLUMN membership_id TEXT COLLATE "C";
ALTER TABLE charges ADD COLUMN membership_id TEXT COLLATE "C";
