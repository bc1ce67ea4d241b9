-- What is too old to be kept, and what happened in a span of time.
CREATE INDEX changes_by_time ON changes (at, id);
CREATE INDEX license_events_by_time ON license_events (created_at, id);
