-- Memberships whose subscriptions have ended and which wait for what is under way or in grace.
CREATE INDEX memberships_that_wait ON memberships (over_at, id) WHERE over_at IS NOT NULL AND ended_at IS NULL;
