-- Versions of the product's app, and the files that it is installed and updated by. `claims` is channel and version while no
-- other release may have those; `sort_key` puts versions in their order of precedence.
CREATE TABLE releases (
    id              TEXT PRIMARY KEY,
    channel         TEXT NOT NULL,
    version         TEXT NOT NULL,
    sort_key        TEXT NOT NULL,
    claims          TEXT UNIQUE,
    name            TEXT,
    notes           TEXT,
    rollout_percent INTEGER NOT NULL CHECK (rollout_percent BETWEEN 0 AND 100),
    feature         TEXT,
    tiers           TEXT NOT NULL CHECK (json_valid(tiers)),
    status          TEXT NOT NULL CHECK (status IN ('draft', 'published', 'withdrawn')),
    created_at      TEXT NOT NULL,
    published_at    TEXT,
    withdrawn_at    TEXT,
    withdraw_reason TEXT
) STRICT;

CREATE INDEX releases_by_time ON releases (created_at, id);
-- Whose files are to be removed.
CREATE INDEX releases_withdrawn ON releases (withdrawn_at, id) WHERE withdrawn_at IS NOT NULL;
CREATE INDEX releases_by_version ON releases (channel, status, sort_key);

-- The files of each release: `id` is `<release_id>/<name>`.
CREATE TABLE release_files (
    id             TEXT PRIMARY KEY,
    release_id     TEXT NOT NULL REFERENCES releases (id),
    position       INTEGER NOT NULL,
    name           TEXT NOT NULL,
    platform       TEXT NOT NULL,
    arch           TEXT NOT NULL,
    size           INTEGER NOT NULL,
    sha512         TEXT NOT NULL,
    block_map_size INTEGER
) STRICT;

CREATE INDEX release_files_of_release ON release_files (release_id, position);
CREATE INDEX release_files_by_name ON release_files (name);

-- What lies in the folder of releases, or did: a name has the same bytes for good.
CREATE TABLE stored_files (
    name       TEXT PRIMARY KEY,
    size       INTEGER NOT NULL,
    sha512     TEXT NOT NULL,
    stored_at  TEXT,
    removed_at TEXT
) STRICT;

-- One row a channel: whoever changes its releases holds it.
CREATE TABLE release_channels (
    id TEXT PRIMARY KEY
) STRICT;
