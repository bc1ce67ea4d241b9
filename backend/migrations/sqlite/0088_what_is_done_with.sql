-- Dead letters that are resolved, and machines that gave up their seats: what is to be removed when it is old.
CREATE INDEX dead_letters_resolved ON dead_letters (resolved_at, id) WHERE resolved_at IS NOT NULL;
CREATE INDEX machines_deactivated ON machines (deactivated_at, id) WHERE deactivated_at IS NOT NULL;
