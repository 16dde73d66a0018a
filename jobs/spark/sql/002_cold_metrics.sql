-- The columns beside the users' own. Without NOT NULL, for a table may have rows: the next load fills them.

ALTER TABLE session_analysis
    ADD COLUMN query_count         bigint,
    ADD COLUMN search_count        bigint,
    ADD COLUMN reformulation_count bigint,
    ADD COLUMN avg_click_rank      double precision,
    ADD COLUMN mrr                 double precision,
    ADD COLUMN median_gap_sec      double precision,
    ADD COLUMN distinct_areas      bigint,
    ADD COLUMN top_area            text,
    ADD COLUMN is_bounce           boolean,
    ADD COLUMN is_anomalous        boolean;

ALTER TABLE daily_traffic
    ADD COLUMN unique_queries       bigint,
    ADD COLUMN clicks_per_session   double precision,
    ADD COLUMN bounce_rate          double precision,
    ADD COLUMN median_duration_sec  double precision,
    ADD COLUMN p95_duration_sec     double precision,
    ADD COLUMN ctr_at_1             double precision,
    ADD COLUMN mean_reciprocal_rank double precision,
    ADD COLUMN rank_coverage        double precision,
    ADD COLUMN no_query_share       double precision,
    ADD COLUMN dod_pct              double precision,
    ADD COLUMN wow_pct              double precision,
    ADD COLUMN duplicate_count      bigint,
    ADD COLUMN quarantined_count    bigint,
    ADD COLUMN late_count           bigint;

ALTER TABLE clinical_areas
    ADD COLUMN weighted_clicks  double precision,
    ADD COLUMN click_share      double precision,
    ADD COLUMN unique_documents bigint,
    ADD COLUMN rank_in_day      integer,
    ADD COLUMN wow_pct          double precision;

ALTER TABLE popular_documents
    ADD COLUMN rank_in_day    integer,
    ADD COLUMN doi            text,
    ADD COLUMN url_host       text,
    ADD COLUMN impressions    bigint,
    ADD COLUMN ctr            double precision,
    ADD COLUMN avg_click_rank double precision,
    ADD COLUMN wow_pct        double precision;
