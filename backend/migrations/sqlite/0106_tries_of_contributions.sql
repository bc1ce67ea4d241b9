-- What is tried again by us, and why attempts failed: by the payment methods that they were made with.
ALTER TABLE charges ADD COLUMN failures TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(failures));
ALTER TABLE contributions ADD COLUMN failures TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(failures));
ALTER TABLE contributions ADD COLUMN tries TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tries));
ALTER TABLE contributions ADD COLUMN is_trying INTEGER NOT NULL DEFAULT FALSE;
ALTER TABLE contributions ADD COLUMN schedule_ended_at TEXT;
ALTER TABLE contributions ADD COLUMN step_at TEXT;

-- What is charged now.
ALTER TABLE memberships ADD COLUMN charged_method_id TEXT;
