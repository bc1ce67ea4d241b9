-- How far the newest round has come that reads the subscription of every membership from Stripe.
CREATE TABLE membership_rounds (
    name            TEXT NOT NULL PRIMARY KEY,
    began_at        TEXT NOT NULL,
    ended_at        TEXT,
    after_pod_id    TEXT NOT NULL,
    synced          INTEGER NOT NULL,
    changed         INTEGER NOT NULL,
    errors          INTEGER NOT NULL,
    due_soon        INTEGER NOT NULL,
    failed_payments INTEGER NOT NULL,
    grace_ending    INTEGER NOT NULL
) STRICT;
