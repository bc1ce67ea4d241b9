-- Contributions about which something is to be done.
CREATE INDEX contributions_by_step ON contributions (step_at, id) WHERE step_at IS NOT NULL;
