-- When a webhook last came, which is noted from now on.
INSERT INTO sightings (id, kind, name, seen_at)
SELECT 'webhook:any', 'webhook', 'any', seen_at
FROM (SELECT max(received_at) AS seen_at
      FROM (SELECT max(received_at) AS received_at FROM webhook_events WHERE status = 'processed'
            UNION ALL
            SELECT max(received_at) FROM webhook_events WHERE status = 'ignored'
            UNION ALL
            SELECT max(received_at) FROM webhook_events WHERE status = 'failed'
            UNION ALL
            SELECT max(received_at) FROM webhook_events WHERE status = 'dead_lettered') AS newest) AS it
WHERE seen_at IS NOT NULL;
