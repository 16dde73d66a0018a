-- What dashboards ask beside the marts: do hot and cold agree, and how old is what they show?

CREATE TABLE mart_loads (
    table_name text        PRIMARY KEY,
    row_count  bigint      NOT NULL,
    loaded_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX ON session_analysis (last_click_ts);
CREATE INDEX ON clinical_areas (clinical_area, event_date);
CREATE INDEX ON popular_documents (document_id, event_date);

-- The hot clicks are added up for those days only that a query asks for.
CREATE VIEW reconciliation AS
WITH tolerance AS (
    SELECT 0.01 AS share
), days AS (
    SELECT event_date FROM daily_traffic
    UNION
    SELECT generate_series((min(event_minute) AT TIME ZONE 'UTC')::date, (max(event_minute) AT TIME ZONE 'UTC')::date,
                           interval '1 day')::date
    FROM mart_realtime_traffic_minute
)
SELECT event_date,
       hot_clicks,
       total_events AS cold_clicks,
       hot_clicks - total_events AS difference,
       (hot_clicks - total_events)::double precision / total_events AS difference_share,
       abs(hot_clicks - total_events) <= tolerance.share * total_events AS within_tolerance
FROM days
CROSS JOIN tolerance
CROSS JOIN LATERAL (
    SELECT sum(total_clicks)::bigint AS hot_clicks
    FROM mart_realtime_traffic_minute
    WHERE event_minute >= event_date::timestamp AT TIME ZONE 'UTC'
      AND event_minute < (event_date + 1)::timestamp AT TIME ZONE 'UTC'
) AS hot
LEFT JOIN daily_traffic USING (event_date)
WHERE hot_clicks IS NOT NULL OR total_events IS NOT NULL;

CREATE VIEW freshness AS
WITH hot AS (
    SELECT max(max_event_ts) AS newest_event_ts, max(updated_at) AS written_at FROM mart_realtime_batches
), written AS (
    SELECT table_name, (SELECT max(last_click_ts) FROM session_analysis) AS newest_event_ts, loaded_at AS written_at
    FROM mart_loads
    UNION ALL
    SELECT table_name, newest_event_ts, written_at
    FROM hot, unnest(ARRAY['mart_realtime_traffic_minute', 'mart_realtime_top_docs_1h',
                           'mart_realtime_clinical_trend_24h', 'mart_realtime_anomaly_sessions']) AS table_name
    WHERE written_at IS NOT NULL
)
SELECT table_name,
       newest_event_ts,
       written_at,
       extract(epoch FROM now() - newest_event_ts)::double precision / 60 AS event_age_minutes,
       extract(epoch FROM now() - written_at)::double precision / 60 AS wall_age_minutes
FROM written;
