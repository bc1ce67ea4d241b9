-- What is compared with Stripe: the newest run of each kind, and what it has still to read.
CREATE TABLE reconciliations (
    name      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    since     TIMESTAMPTZ,
    began_at  TIMESTAMPTZ NOT NULL,
    ended_at  TIMESTAMPTZ,
    remaining JSON NOT NULL,
    objects   BIGINT NOT NULL,
    found     BIGINT NOT NULL,
    unmended  BIGINT NOT NULL
);
