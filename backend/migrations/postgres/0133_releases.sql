-- Versions of the product's app, and the files that it is installed and updated by. `claims` is channel and version while no
-- other release may have those; `sort_key` puts versions in their order of precedence.
CREATE TABLE releases (
    id              TEXT COLLATE "C" PRIMARY KEY,
    channel         TEXT COLLATE "C" NOT NULL,
    version         TEXT NOT NULL,
    sort_key        TEXT COLLATE "C" NOT NULL,
    claims          TEXT COLLATE "C" UNIQUE,
    name            TEXT,
    notes           TEXT,
    rollout_percent BIGINT NOT NULL CHECK (rollout_percent BETWEEN 0 AND 100),
    feature         TEXT,
    tiers           JSON NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('draft', 'published', 'withdrawn')),
    created_at      TIMESTAMPTZ NOT NULL,
    published_at    TIMESTAMPTZ,
    withdrawn_at    TIMESTAMPTZ,
    withdraw_reason TEXT
);

CREATE INDEX releases_by_time ON releases (created_at, id);
-- Whose files are to be removed.
CREATE INDEX releases_withdrawn ON releases (withdrawn_at, id) WHERE withdrawn_at IS NOT NULL;
CREATE INDEX releases_by_version ON releases (channel, status, sort_key);

-- The files of each release: `id` is `<release_id>/<name>`.
CREATE TABLE release_files (
    id             TEXT COLLATE "C" PRIMARY KEY,
    release_id     TEXT COLLATE "C" NOT NULL REFERENCES releases (id),
    position       BIGINT NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    platform       TEXT NOT NULL,
    arch           TEXT NOT NULL,
    size           BIGINT NOT NULL,
    sha512         TEXT NOT NULL,
    block_map_size BIGINT
);

CREATE INDEX release_files_of_release ON release_files (release_id, position);
CREATE INDEX release_files_by_name ON release_files (name);

-- What lies in the folder of releases, or did: a name has the same bytes for good.
CREATE TABLE stored_files (
    name       TEXT COLLATE "C" PRIMARY KEY,
    size       BIGINT NOT NULL,
    sha512     TEXT NOT NULL,
    stored_at  TIMESTAMPTZ,
    removed_at TIMESTAMPTZ
);

-- One row a channel: whoever changes its releases holds it.
CREATE TABLE release_channels (
    id TEXT COLLATE "C" PRIMARY KEY
);
