-- What queries lead to: the last 364 days, replaced as a whole.

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

CREATE OR REPLACE FUNCTION analyze_search_marts() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT
    AS 'ANALYZE click_positions, search_quality, popular_queries, query_change_days, hourly_traffic, query_changes, query_documents';
