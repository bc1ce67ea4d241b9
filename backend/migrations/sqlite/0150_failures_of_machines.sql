-- What machines failed at, which is little of all that they say.
CREATE INDEX acknowledgements_failed ON acknowledgements (acknowledged_at, id) WHERE status = 'failed';
