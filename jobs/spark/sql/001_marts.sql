-- The eight tables that Superset reads, and the hot stream's own book-keeping. All timestamps are UTC.

CREATE TABLE session_analysis (
    session_id           text             NOT NULL,
    visit_no             integer          NOT NULL,
    event_date           date             NOT NULL,
    click_count          bigint           NOT NULL,
    unique_docs          bigint           NOT NULL,
    first_click_ts       timestamptz      NOT NULL,
    last_click_ts        timestamptz      NOT NULL,
    session_duration_sec double precision NOT NULL,
    PRIMARY KEY (session_id, visit_no)
);
CREATE INDEX ON session_analysis (event_date);
COMMENT ON TABLE session_analysis IS 'One row a visit: clicks of a session with pauses of 30 minutes at most, not cut at midnight. Cold: recomputed daily.';
COMMENT ON COLUMN session_analysis.session_id IS 'SessionId of the log; one that comes back after a pause has several visits';
COMMENT ON COLUMN session_analysis.visit_no IS 'Number of the visit within its session, from 1';
COMMENT ON COLUMN session_analysis.event_date IS 'UTC date of the visit''s first click';
COMMENT ON COLUMN session_analysis.click_count IS 'Clicks, each counted once however often it was sent';
COMMENT ON COLUMN session_analysis.unique_docs IS 'Distinct documents that were clicked';
COMMENT ON COLUMN session_analysis.first_click_ts IS 'event_ts of the first click';
COMMENT ON COLUMN session_analysis.last_click_ts IS 'event_ts of the last click';
COMMENT ON COLUMN session_analysis.session_duration_sec IS 'Seconds from the first click to the last; 0 for a single click';

CREATE TABLE daily_traffic (
    event_date       date     PRIMARY KEY,
    total_events     bigint   NOT NULL,
    unique_sessions  bigint   NOT NULL,
    unique_documents bigint   NOT NULL,
    peak_hour        smallint NOT NULL
);
COMMENT ON TABLE daily_traffic IS 'One row a UTC day with clicks. Cold: recomputed daily.';
COMMENT ON COLUMN daily_traffic.event_date IS 'UTC date of event_ts';
COMMENT ON COLUMN daily_traffic.total_events IS 'Clicks, each counted once however often it was sent';
COMMENT ON COLUMN daily_traffic.unique_sessions IS 'Distinct session_id of the day''s clicks';
COMMENT ON COLUMN daily_traffic.unique_documents IS 'Distinct documents that were clicked';
COMMENT ON COLUMN daily_traffic.peak_hour IS 'Hour (UTC, 0 to 23) with the most clicks; of several the earliest';

CREATE TABLE clinical_areas (
    event_date      date   NOT NULL,
    clinical_area   text   NOT NULL,
    search_count    bigint NOT NULL,
    unique_sessions bigint NOT NULL,
    PRIMARY KEY (event_date, clinical_area)
);
COMMENT ON TABLE clinical_areas IS 'One row a UTC day and clinical area with clicks. A click with several areas counts in each. Cold: recomputed daily.';
COMMENT ON COLUMN clinical_areas.event_date IS 'UTC date of event_ts';
COMMENT ON COLUMN clinical_areas.clinical_area IS 'Canonical name; Unknown: the click has none; Other: <label>: not one of the known areas';
COMMENT ON COLUMN clinical_areas.search_count IS 'Clicks in this area';
COMMENT ON COLUMN clinical_areas.unique_sessions IS 'Distinct session_id of these clicks';

CREATE TABLE popular_documents (
    event_date      date   NOT NULL,
    document_id     bigint NOT NULL,
    title           text,
    view_count      bigint NOT NULL,
    unique_sessions bigint NOT NULL,
    PRIMARY KEY (event_date, document_id)
);
COMMENT ON TABLE popular_documents IS 'One row a UTC day and document that was clicked. Cold: recomputed daily.';
COMMENT ON COLUMN popular_documents.event_date IS 'UTC date of event_ts';
COMMENT ON COLUMN popular_documents.document_id IS 'DocumentId of the log';
COMMENT ON COLUMN popular_documents.title IS 'The day''s latest title that is not empty, uncut; NULL when there is none';
COMMENT ON COLUMN popular_documents.view_count IS 'Clicks on the document';
COMMENT ON COLUMN popular_documents.unique_sessions IS 'Distinct session_id of these clicks';

CREATE TABLE mart_realtime_traffic_minute (
    event_minute    timestamptz PRIMARY KEY,
    total_clicks    bigint      NOT NULL,
    unique_sessions bigint      NOT NULL,
    unique_docs     bigint      NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE mart_realtime_traffic_minute IS 'One row a minute of event time with clicks. Hot: the whole minute, however many micro-batches it came in.';
COMMENT ON COLUMN mart_realtime_traffic_minute.event_minute IS 'Start of the minute of event_ts';
COMMENT ON COLUMN mart_realtime_traffic_minute.total_clicks IS 'Clicks, each counted once however often it was sent';
COMMENT ON COLUMN mart_realtime_traffic_minute.unique_sessions IS 'Distinct session_id; do not add them up over minutes';
COMMENT ON COLUMN mart_realtime_traffic_minute.unique_docs IS 'Distinct documents that were clicked; do not add them up over minutes';
COMMENT ON COLUMN mart_realtime_traffic_minute.updated_at IS 'When this row was last written (clock of the database)';

CREATE TABLE mart_realtime_top_docs_1h (
    snapshot_ts     timestamptz NOT NULL,
    rank            smallint    NOT NULL,
    document_id     bigint      NOT NULL,
    title           text,
    click_count     bigint      NOT NULL,
    unique_sessions bigint      NOT NULL,
    PRIMARY KEY (snapshot_ts, rank)
);
COMMENT ON TABLE mart_realtime_top_docs_1h IS 'The 20 most clicked documents of the hour of event time before a snapshot. Hot: a snapshot a micro-batch.';
COMMENT ON COLUMN mart_realtime_top_docs_1h.snapshot_ts IS 'End of the minute of the newest event_ts that was seen';
COMMENT ON COLUMN mart_realtime_top_docs_1h.rank IS 'From 1: by click_count, then unique_sessions (both descending), then document_id';
COMMENT ON COLUMN mart_realtime_top_docs_1h.document_id IS 'DocumentId of the log';
COMMENT ON COLUMN mart_realtime_top_docs_1h.title IS 'The hour''s latest title that is not empty, uncut; NULL when there is none';
COMMENT ON COLUMN mart_realtime_top_docs_1h.click_count IS 'Clicks on the document';
COMMENT ON COLUMN mart_realtime_top_docs_1h.unique_sessions IS 'Distinct session_id of these clicks';

CREATE TABLE mart_realtime_clinical_trend_24h (
    snapshot_ts     timestamptz NOT NULL,
    clinical_area   text        NOT NULL,
    click_count     bigint      NOT NULL,
    unique_sessions bigint      NOT NULL,
    trend_pct       double precision,
    PRIMARY KEY (snapshot_ts, clinical_area)
);
COMMENT ON TABLE mart_realtime_clinical_trend_24h IS 'Clicks by clinical area in the 24 hours of event time before a snapshot. Hot: a snapshot a micro-batch.';
COMMENT ON COLUMN mart_realtime_clinical_trend_24h.snapshot_ts IS 'End of the minute of the newest event_ts that was seen';
COMMENT ON COLUMN mart_realtime_clinical_trend_24h.clinical_area IS 'As in clinical_areas; every area with clicks in the last 48 hours';
COMMENT ON COLUMN mart_realtime_clinical_trend_24h.click_count IS 'Clicks in this area; 0 when it had some in the 24 hours before only';
COMMENT ON COLUMN mart_realtime_clinical_trend_24h.unique_sessions IS 'Distinct session_id of these clicks';
COMMENT ON COLUMN mart_realtime_clinical_trend_24h.trend_pct IS 'Change against the 24 hours before, in percent; NULL when there was no click then';

CREATE TABLE mart_realtime_anomaly_sessions (
    detected_ts  timestamptz NOT NULL DEFAULT now(),
    session_id   text        NOT NULL,
    rule_id      text        NOT NULL,
    window_start timestamptz NOT NULL,
    window_end   timestamptz NOT NULL,
    click_count  bigint      NOT NULL,
    severity     text        NOT NULL CHECK (severity IN ('WARNING', 'CRITICAL')),
    PRIMARY KEY (session_id, rule_id, window_start)
);
CREATE INDEX ON mart_realtime_anomaly_sessions (window_end);
COMMENT ON TABLE mart_realtime_anomaly_sessions IS 'One row a burst of a session, rule and severity: one that grows is a WARNING, then a CRITICAL. Hot: rows are added, never changed.';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.detected_ts IS 'When the row was written (clock of the database)';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.session_id IS 'SessionId of the log';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.rule_id IS 'clicks_5m: clicks in a sliding 5 minutes, 50 are a WARNING, 100 CRITICAL';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.window_start IS 'Start of the sliding window, itself not in it';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.window_end IS 'event_ts of the click that reached the threshold';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.click_count IS 'Clicks in the window, that one included';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.severity IS 'WARNING or CRITICAL';

CREATE TABLE mart_realtime_batches (
    query_id     text        PRIMARY KEY,
    batch_id     bigint      NOT NULL,
    max_event_ts timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE mart_realtime_batches IS 'The last micro-batch that is in the hot tables, for each checkpoint: a batch that runs again changes nothing.';
COMMENT ON COLUMN mart_realtime_batches.query_id IS 'Id of the checkpoint, made by Spark';
COMMENT ON COLUMN mart_realtime_batches.batch_id IS 'Its last micro-batch that is in the hot tables';
COMMENT ON COLUMN mart_realtime_batches.max_event_ts IS 'The newest event_ts of all batches until then';
COMMENT ON COLUMN mart_realtime_batches.updated_at IS 'When that batch was written (clock of the database)';
