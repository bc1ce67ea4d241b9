-- API keys by their hash. `sealed` is the copy that may be revealed once, encrypted, and wiped when it was.
CREATE TABLE api_keys (
    id          TEXT COLLATE "C" PRIMARY KEY,
    customer_id TEXT COLLATE "C" NOT NULL,
    origin      TEXT NOT NULL CHECK (origin IN ('webhook', 'user')),
    name        TEXT,
    prefix      TEXT NOT NULL,
    hash        TEXT COLLATE "C" NOT NULL UNIQUE,
    sealed      BYTEA,
    created_at  TIMESTAMPTZ NOT NULL,
    revoked_at  TIMESTAMPTZ
);

CREATE INDEX api_keys_of_customer ON api_keys (customer_id, id);
-- A thousand replays grant one key.
CREATE UNIQUE INDEX api_keys_one_by_webhook ON api_keys (customer_id) WHERE origin = 'webhook';

-- A customer's widget configurations, seeded from the operator's defaults.
CREATE TABLE widgets (
    id          TEXT COLLATE "C" PRIMARY KEY,
    customer_id TEXT COLLATE "C" NOT NULL,
    name        TEXT NOT NULL,
    config      JSON NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL,
    UNIQUE (customer_id, name)
);
