-- What the deployment has to remember about itself, such as the plans that tiers were last settled by.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
