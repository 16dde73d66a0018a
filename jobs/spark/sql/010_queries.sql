-- What queries lead to, of the last 364 days, replaced as a whole; and what is asked for more than before.

CREATE TABLE query_changes (
    as_of        date             NOT NULL,
    query        text             NOT NULL,
    next_query   text             NOT NULL,
    kind         text             NOT NULL,
    changes      bigint           NOT NULL,
    sessions     bigint           NOT NULL,
    known_before bigint           NOT NULL,
    rr_before    double precision NOT NULL,
    known_after  bigint           NOT NULL,
    rr_after     double precision NOT NULL,
    first_after  bigint           NOT NULL,
    settled      bigint           NOT NULL,
    change_share double precision NOT NULL,
    PRIMARY KEY (query, next_query)
);

CREATE TABLE query_documents (
    as_of           date             NOT NULL,
    query           text             NOT NULL,
    document_id     bigint           NOT NULL,
    title           text,
    searches        bigint           NOT NULL,
    shown           bigint           NOT NULL,
    clicked         bigint           NOT NULL,
    ctr             double precision NOT NULL,
    dctr_grade_code smallint,
    dctr_grade_docs smallint,
    avg_rank        double precision NOT NULL,
    best_rank_shown smallint         NOT NULL,
    expected        double precision NOT NULL,
    lift            double precision,
    p_more          double precision NOT NULL,
    p_less          double precision NOT NULL,
    q_more          double precision,
    q_less          double precision,
    verdict         text,
    PRIMARY KEY (query, document_id)
);

CREATE TABLE trending (
    event_date      date             NOT NULL,
    kind            text             NOT NULL,
    item            text             NOT NULL,
    visits_7d       bigint           NOT NULL,
    base_visits_28d bigint           NOT NULL,
    expected        double precision NOT NULL,
    ratio           double precision,
    is_new          boolean          NOT NULL,
    p_value         double precision NOT NULL,
    q_value         double precision NOT NULL,
    rank_in_kind    integer          NOT NULL,
    is_significant  boolean          NOT NULL,
    PRIMARY KEY (event_date, kind, item)
);

CREATE OR REPLACE FUNCTION analyze_search_marts() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
    AS 'ANALYZE click_positions, search_quality, popular_queries, query_change_days, hourly_traffic, query_changes, query_documents, trending';
