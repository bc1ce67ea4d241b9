-- How far the newest round has come that reads the subscription of every membership from Stripe.
CREATE TABLE membership_rounds (
    name            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    began_at        TIMESTAMPTZ NOT NULL,
    ended_at        TIMESTAMPTZ,
    after_pod_id    TEXT COLLATE "C" NOT NULL,
    synced          BIGINT NOT NULL,
    changed         BIGINT NOT NULL,
    errors          BIGINT NOT NULL,
    due_soon        BIGINT NOT NULL,
    failed_payments BIGINT NOT NULL,
    grace_ending    BIGINT NOT NULL
);
