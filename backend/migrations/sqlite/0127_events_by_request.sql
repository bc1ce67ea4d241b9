-- What one request brought, as operators look for it.
CREATE INDEX webhook_events_by_request ON webhook_events (request_id, id) WHERE request_id IS NOT NULL;
