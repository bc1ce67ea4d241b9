-- What the deployment has to remember about itself, such as the plans that tiers were last settled by.
CREATE TABLE settings (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);
