-- What people search for. What the tables mean: columns_search.py, from which the jobs make the comments.

CREATE TABLE click_positions (
    event_date    date     NOT NULL,
    rank          smallint NOT NULL,
    shown         bigint   NOT NULL,
    clicked       bigint   NOT NULL,
    best          bigint   NOT NULL,
    first_clicked bigint   NOT NULL,
    skipped       bigint   NOT NULL,
    PRIMARY KEY (event_date, rank)
);

CREATE TABLE search_quality (
    event_date     date             NOT NULL,
    query_class    text             NOT NULL,
    searches       bigint           NOT NULL,
    clicks         bigint           NOT NULL,
    visits         bigint           NOT NULL,
    known_searches bigint           NOT NULL,
    refined        bigint           NOT NULL,
    first_result   bigint           NOT NULL,
    top_3          bigint           NOT NULL,
    top_10         bigint           NOT NULL,
    rr_sum         double precision NOT NULL,
    ctr_at_1       double precision,
    ctr_at_3       double precision,
    ctr_at_10      double precision,
    mrr            double precision,
    mrr_low        double precision,
    mrr_high       double precision,
    ctr_at_1_low   double precision,
    ctr_at_1_high  double precision,
    units          bigint           NOT NULL,
    rr_sq          double precision NOT NULL,
    rr_n           double precision NOT NULL,
    n_sq           bigint           NOT NULL,
    first_sq       bigint           NOT NULL,
    first_n        bigint           NOT NULL,
    PRIMARY KEY (event_date, query_class)
);

CREATE TABLE popular_queries (
    event_date     date             NOT NULL,
    query          text,
    clicks         bigint           NOT NULL,
    searches       bigint           NOT NULL,
    sessions       bigint           NOT NULL,
    known_searches bigint           NOT NULL,
    first_result   bigint           NOT NULL,
    top_10         bigint           NOT NULL,
    rr_sum         double precision NOT NULL,
    mrr            double precision,
    refined        bigint           NOT NULL,
    query_class    text,
    rank_in_day    integer,
    wow_pct        double precision,
    -- No primary key: the row of the queries without one of their own has none.
    UNIQUE NULLS NOT DISTINCT (event_date, query)
);
CREATE INDEX ON popular_queries (query, event_date);

CREATE TABLE query_change_days (
    event_date   date             NOT NULL,
    kind         text             NOT NULL,
    changes      bigint           NOT NULL,
    known_before bigint           NOT NULL,
    rr_before    double precision NOT NULL,
    known_after  bigint           NOT NULL,
    rr_after     double precision NOT NULL,
    first_after  bigint           NOT NULL,
    settled      bigint           NOT NULL,
    PRIMARY KEY (event_date, kind)
);

CREATE TABLE hourly_traffic (
    event_date date     NOT NULL,
    hour       smallint NOT NULL,
    clicks     bigint   NOT NULL,
    searches   bigint   NOT NULL,
    visits     bigint   NOT NULL,
    PRIMARY KEY (event_date, hour)
);

CREATE FUNCTION analyze_search_marts() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
    AS 'ANALYZE click_positions, search_quality, popular_queries, query_change_days, hourly_traffic';
REVOKE ALL ON FUNCTION analyze_search_marts() FROM PUBLIC;

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
           loaded_at AS written_at
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
