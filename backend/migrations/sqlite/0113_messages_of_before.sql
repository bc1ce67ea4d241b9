-- Until now no message was sent. What was queued meanwhile is not sent all at once now that messages are: what it tells of is
-- in the application, and most of it is over.
UPDATE messages SET status = 'skipped', reason = 'not_configured', next_attempt_at = NULL WHERE status = 'queued';
