-- Snapshots go by the time at which they were written as well: a jump of event time alone empties no table.
ALTER TABLE mart_realtime_top_docs_1h ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE mart_realtime_clinical_trend_24h ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();

-- The hot tables are as new as the stream that wrote them last: another one may have been ahead once.
CREATE OR REPLACE VIEW freshness AS
WITH hot AS (
    SELECT max_event_ts AS newest_event_ts, updated_at AS written_at
    FROM mart_realtime_batches
    ORDER BY updated_at DESC
    LIMIT 1
), written AS (
    SELECT table_name, (SELECT max(last_click_ts) FROM session_analysis) AS newest_event_ts, loaded_at AS written_at
    FROM mart_loads
    UNION ALL
    SELECT table_name, newest_event_ts, written_at
    FROM hot, unnest(ARRAY['mart_realtime_traffic_minute', 'mart_realtime_top_docs_1h',
                           'mart_realtime_clinical_trend_24h', 'mart_realtime_anomaly_sessions']) AS table_name
)
SELECT table_name,
       newest_event_ts,
       written_at,
       extract(epoch FROM now() - newest_event_ts)::double precision / 60 AS event_age_minutes,
       extract(epoch FROM now() - written_at)::double precision / 60 AS wall_age_minutes
FROM written;
