-- What dashboards ask beside the marts: do hot and cold agree, and how old is what they show?

CREATE TABLE mart_loads (
    table_name text        PRIMARY KEY,
    row_count  bigint      NOT NULL,
    loaded_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX ON session_analysis (last_click_ts);

CREATE VIEW reconciliation AS
WITH tolerance AS (
    SELECT 0.01 AS share
), hot AS (
    SELECT (event_minute AT TIME ZONE 'UTC')::date AS event_date, sum(total_clicks)::bigint AS hot_clicks
    FROM mart_realtime_traffic_minute
    GROUP BY 1
)
SELECT event_date,
       hot_clicks,
       total_events AS cold_clicks,
       hot_clicks - total_events AS difference,
       (hot_clicks - total_events)::double precision / total_events AS difference_share,
       abs(hot_clicks - total_events) <= tolerance.share * total_events AS within_tolerance
FROM hot FULL JOIN daily_traffic USING (event_date) CROSS JOIN tolerance;

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
