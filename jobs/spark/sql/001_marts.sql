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
COMMENT ON TABLE session_analysis IS 'One row a visit: clicks of a session with pauses of 30 minutes at most, not cut at midnight. Cold: recomputed daily.';
COMMENT ON COLUMN session_analysis.visit_no IS 'Number of the visit within its session, from 1';
COMMENT ON COLUMN session_analysis.event_date IS 'UTC date of the visit''s first click';
COMMENT ON COLUMN session_analysis.unique_docs IS 'Distinct documents that were clicked';
COMMENT ON COLUMN session_analysis.session_duration_sec IS 'Seconds from the first click to the last; 0 for a single click';

CREATE TABLE daily_traffic (
    event_date       date     PRIMARY KEY,
    total_events     bigint   NOT NULL,
    unique_sessions  bigint   NOT NULL,
    unique_documents bigint   NOT NULL,
    peak_hour        smallint NOT NULL
);
COMMENT ON TABLE daily_traffic IS 'One row a UTC day. Cold: recomputed daily.';
COMMENT ON COLUMN daily_traffic.total_events IS 'Clicks, each counted once however often it was sent';
COMMENT ON COLUMN daily_traffic.peak_hour IS 'Hour (UTC, 0 to 23) with the most clicks; of several the earliest';

CREATE TABLE clinical_areas (
    event_date      date   NOT NULL,
    clinical_area   text   NOT NULL,
    search_count    bigint NOT NULL,
    unique_sessions bigint NOT NULL,
    PRIMARY KEY (event_date, clinical_area)
);
COMMENT ON TABLE clinical_areas IS 'One row a UTC day and clinical area. A click with several areas counts in each; one without any counts in Unknown. Cold: recomputed daily.';
COMMENT ON COLUMN clinical_areas.search_count IS 'Clicks in this area';

CREATE TABLE popular_documents (
    event_date      date   NOT NULL,
    document_id     bigint NOT NULL,
    title           text,
    view_count      bigint NOT NULL,
    unique_sessions bigint NOT NULL,
    PRIMARY KEY (event_date, document_id)
);
COMMENT ON TABLE popular_documents IS 'One row a UTC day and document that was clicked. Cold: recomputed daily.';
COMMENT ON COLUMN popular_documents.title IS 'The day''s latest title that is not empty, uncut';
COMMENT ON COLUMN popular_documents.view_count IS 'Clicks on the document';

CREATE TABLE mart_realtime_traffic_minute (
    event_minute    timestamptz PRIMARY KEY,
    total_clicks    bigint      NOT NULL,
    unique_sessions bigint      NOT NULL,
    unique_docs     bigint      NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE mart_realtime_traffic_minute IS 'One row a minute of event time. Hot: the whole minute, however many micro-batches it came in.';

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
COMMENT ON COLUMN mart_realtime_top_docs_1h.snapshot_ts IS 'The newest event_ts that was seen, rounded up to the minute';
COMMENT ON COLUMN mart_realtime_top_docs_1h.rank IS 'From 1: by click_count, then unique_sessions, then document_id';

CREATE TABLE mart_realtime_clinical_trend_24h (
    snapshot_ts     timestamptz NOT NULL,
    clinical_area   text        NOT NULL,
    click_count     bigint      NOT NULL,
    unique_sessions bigint      NOT NULL,
    trend_pct       double precision,
    PRIMARY KEY (snapshot_ts, clinical_area)
);
COMMENT ON TABLE mart_realtime_clinical_trend_24h IS 'Clicks by clinical area in the 24 hours of event time before a snapshot. Hot: a snapshot a micro-batch.';
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
COMMENT ON TABLE mart_realtime_anomaly_sessions IS 'One row each time a session rises over a rule''s threshold. Hot: rows are added, never changed.';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.window_end IS 'The click that crossed the threshold';
COMMENT ON COLUMN mart_realtime_anomaly_sessions.click_count IS 'Clicks in the window, that one included';

CREATE TABLE mart_realtime_batches (
    query_id     text        PRIMARY KEY,
    batch_id     bigint      NOT NULL,
    max_event_ts timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE mart_realtime_batches IS 'The last micro-batch that is in the hot tables, for each checkpoint: a batch that runs again changes nothing.';
