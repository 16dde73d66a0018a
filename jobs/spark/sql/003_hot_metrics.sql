-- The columns beside the users' own. Without NOT NULL, for a table may have rows.

ALTER TABLE mart_realtime_traffic_minute
    ADD COLUMN unique_queries bigint,
    ADD COLUMN is_final       boolean;
CREATE INDEX ON mart_realtime_traffic_minute (event_minute) WHERE is_final IS NOT TRUE;

ALTER TABLE mart_realtime_top_docs_1h
    ADD COLUMN window_start timestamptz,
    ADD COLUMN window_end   timestamptz,
    ADD COLUMN rank_delta   integer;

ALTER TABLE mart_realtime_clinical_trend_24h
    ADD COLUMN prev_click_count bigint,
    ADD COLUMN is_new           boolean,
    ADD COLUMN share            double precision;

ALTER TABLE mart_realtime_anomaly_sessions
    ADD COLUMN metric_value double precision,
    ADD COLUMN threshold    double precision,
    -- A visit of four hours that goes on to eight is a WARNING and then a CRITICAL from the same moment on.
    DROP CONSTRAINT mart_realtime_anomaly_sessions_pkey,
    ADD PRIMARY KEY (session_id, rule_id, window_start, severity);
