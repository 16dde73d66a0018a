-- Agreement of the order of results with earlier clicks. The next load fills it, of all days.

ALTER TABLE search_quality
    ADD COLUMN ndcg_searches     bigint           NOT NULL DEFAULT 0,
    ADD COLUMN ndcg_sum          double precision NOT NULL DEFAULT 0,
    ADD COLUMN ndcg_random_sum   double precision NOT NULL DEFAULT 0,
    ADD COLUMN ndcg_at_10        double precision,
    ADD COLUMN ndcg_at_10_random double precision;
