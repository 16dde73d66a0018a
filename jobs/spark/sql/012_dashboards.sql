-- What people read in a whole day, for an hour of a quiet log has few documents that were read twice.

CREATE TABLE mart_realtime_top_docs_24h (LIKE mart_realtime_top_docs_1h INCLUDING ALL);

-- Ages in words, and a verdict. Cold tables are written once a day, after the end of the day that they gain.
CREATE OR REPLACE VIEW freshness AS
WITH hot AS (
    SELECT max_event_ts AS newest_event_ts, updated_at AS written_at
    FROM mart_realtime_batches
    ORDER BY updated_at DESC
    LIMIT 1
), searched AS (
    SELECT (event_date + make_interval(hours => hour)) AT TIME ZONE 'UTC' AS newest_event_ts
    FROM hourly_traffic
    WHERE searches > 0
    ORDER BY event_date DESC, hour DESC
    LIMIT 1
), written AS (
    SELECT table_name,
           CASE WHEN table_name IN ('session_analysis', 'daily_traffic', 'clinical_areas', 'popular_documents')
                THEN (SELECT max(last_click_ts) FROM session_analysis)
                ELSE (SELECT newest_event_ts FROM searched) END AS newest_event_ts,
           loaded_at AS written_at,
           'cold' AS table_group
    FROM mart_loads
    UNION ALL
    SELECT table_name, newest_event_ts, written_at, 'hot'
    FROM hot, unnest(ARRAY['mart_realtime_traffic_minute', 'mart_realtime_top_docs_1h', 'mart_realtime_top_docs_24h',
                           'mart_realtime_clinical_trend_24h', 'mart_realtime_anomaly_sessions']) AS table_name
), aged AS (
    SELECT *, now() - newest_event_ts AS age, now() - written_at AS wall_age FROM written
), counted AS (
    SELECT *, abs(extract(epoch FROM age)) AS seconds, age < interval '-1 minute' AS is_ahead FROM aged
)
SELECT table_name,
       newest_event_ts,
       written_at,
       extract(epoch FROM age)::double precision / 60 AS event_age_minutes,
       extract(epoch FROM wall_age)::double precision / 60 AS wall_age_minutes,
       CASE WHEN is_ahead THEN 'in ' ELSE '' END || CASE
           WHEN seconds < 60 THEN floor(seconds) || ' s'
           WHEN seconds < 3600 THEN floor(seconds / 60) || ' min'
           WHEN seconds < 172800 THEN floor(seconds / 3600) || ' h'
           ELSE floor(seconds / 86400) || ' days' END AS age_text,
       CASE WHEN is_ahead THEN 'ahead of the clock'
            WHEN table_group = 'hot' AND age > interval '5 minutes' THEN 'late'
            WHEN table_group = 'cold' AND (age > interval '54 hours' OR wall_age > interval '30 hours') THEN 'late'
            WHEN age IS NOT NULL THEN 'fresh' END AS state,
       table_group
FROM counted;
