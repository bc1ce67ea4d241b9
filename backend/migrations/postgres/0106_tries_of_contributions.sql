-- What is tried again by us, and why attempts failed: by the payment methods that they were made with.
ALTER TABLE charges ADD COLUMN failures JSON NOT NULL DEFAULT '{}';
ALTER TABLE contributions ADD COLUMN failures JSON NOT NULL DEFAULT '{}';
ALTER TABLE contributions ADD COLUMN tries JSON NOT NULL DEFAULT '[]';
ALTER TABLE contributions ADD COLUMN is_trying BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE contributions ADD COLUMN schedule_ended_at TIMESTAMPTZ;
ALTER TABLE contributions ADD COLUMN step_at TIMESTAMPTZ;

-- What is charged now.
ALTER TABLE memberships ADD COLUMN charged_method_id TEXT COLLATE "C";
