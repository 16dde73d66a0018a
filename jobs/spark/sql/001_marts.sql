-- The eight tables that Superset reads, and the hot stream's own book-keeping. What they mean: columns_cold.py and
-- columns_hot.py, from which the jobs make the comments.

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

CREATE TABLE daily_traffic (
    event_date       date     PRIMARY KEY,
    total_events     bigint   NOT NULL,
    unique_sessions  bigint   NOT NULL,
    unique_documents bigint   NOT NULL,
    peak_hour        smallint NOT NULL
);

CREATE TABLE clinical_areas (
    event_date      date   NOT NULL,
    clinical_area   text   NOT NULL,
    search_count    bigint NOT NULL,
    unique_sessions bigint NOT NULL,
    PRIMARY KEY (event_date, clinical_area)
);

CREATE TABLE popular_documents (
    event_date      date   NOT NULL,
    document_id     bigint NOT NULL,
    title           text,
    view_count      bigint NOT NULL,
    unique_sessions bigint NOT NULL,
    PRIMARY KEY (event_date, document_id)
);

CREATE TABLE mart_realtime_traffic_minute (
    event_minute    timestamptz PRIMARY KEY,
    total_clicks    bigint      NOT NULL,
    unique_sessions bigint      NOT NULL,
    unique_docs     bigint      NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE mart_realtime_top_docs_1h (
    snapshot_ts     timestamptz NOT NULL,
    rank            smallint    NOT NULL,
    document_id     bigint      NOT NULL,
    title           text,
    click_count     bigint      NOT NULL,
    unique_sessions bigint      NOT NULL,
    PRIMARY KEY (snapshot_ts, rank)
);

CREATE TABLE mart_realtime_clinical_trend_24h (
    snapshot_ts     timestamptz NOT NULL,
    clinical_area   text        NOT NULL,
    click_count     bigint      NOT NULL,
    unique_sessions bigint      NOT NULL,
    trend_pct       double precision,
    PRIMARY KEY (snapshot_ts, clinical_area)
);

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

CREATE TABLE mart_realtime_batches (
    query_id     text        PRIMARY KEY,
    batch_id     bigint      NOT NULL,
    max_event_ts timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now()
);
