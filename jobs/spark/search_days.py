"""The search marts by day, as SQL of classified searches. Each metric is defined here and nowhere else."""

from __future__ import annotations

from typing import Final

from jobs.spark.columns import schema
from jobs.spark.columns_search import (
    CLICK_POSITIONS,
    HOURLY_TRAFFIC,
    POPULAR_QUERIES,
    QUERY_CHANGE_DAYS,
    SEARCH_QUALITY,
)
from jobs.spark.partition_sql import statement
from jobs.spark.searches import CHANGE_SUMS, KINDS, PLACES, WHOLE, reciprocal_sum

_Z: Final = 1.96  # of the normal distribution: 95 % lie between

# The rows of the tables by day, of classified searches of whole days.
DAYS: Final = {
    "searches": f"SELECT *, {WHOLE} // best_rank AS reciprocal FROM input",
    "dates": "SELECT DISTINCT event_date FROM searches",
    # -- click_positions
    "patterns": """
SELECT event_date, shown, best_rank, first_rank, ranks, count(*) AS searches
FROM searches
GROUP BY ALL
""",
    CLICK_POSITIONS.name: f"""
SELECT event_date, rank,
    coalesce(sum(searches) FILTER (rank > 0 AND shown >= rank), 0) AS shown,
    coalesce(sum(searches) FILTER (
        CASE WHEN rank = 0 THEN best_rank IS NULL ELSE ranks >> rank & 1 = 1 END
    ), 0) AS clicked,
    coalesce(sum(searches) FILTER (best_rank = rank), 0) AS best,
    coalesce(sum(searches) FILTER (first_rank = rank), 0) AS first_clicked,
    coalesce(sum(searches) FILTER (
        rank > 0 AND ranks >> rank > 1 AND ranks >> rank & 1 = 0
    ), 0) AS skipped
FROM patterns
CROSS JOIN (SELECT unnest(range({PLACES + 1}))::int AS rank)
GROUP BY event_date, rank
""",
    # -- search_quality
    "in_classes": "FROM searches UNION ALL BY NAME SELECT * REPLACE ('all' AS query_class) FROM searches",
    "per_visit": """
SELECT event_date, query_class, session_id, visit_no,
    count(*) AS searches,
    sum(clicks) AS clicks,
    count(kind) AS refined,
    count(best_rank) AS n,
    count(*) FILTER (best_rank = 1) AS f,
    count(*) FILTER (best_rank <= 3) AS top_3,
    count(*) FILTER (best_rank <= 10) AS top_10,
    coalesce(sum(reciprocal), 0) AS x,
    count(ndcg) AS ndcg_searches,
    coalesce(sum(ndcg::decimal(38, 18)), 0) AS ndcg_sum,
    coalesce(sum(ndcg_random::decimal(38, 18)), 0) AS ndcg_random_sum
FROM in_classes
GROUP BY event_date, query_class, session_id, visit_no
""",
    "per_class": """
SELECT event_date, query_class,
    sum(searches) AS searches,
    sum(clicks) AS clicks,
    count(*) AS visits,
    sum(refined) AS refined,
    sum(n) AS known_searches,
    sum(f) AS first_result,
    sum(top_3) AS top_3,
    sum(top_10) AS top_10,
    sum(x) AS x,
    count(*) FILTER (n > 0) AS units,
    sum(x * x) AS xx,
    sum(x * n) AS xn,
    sum(n * n) AS n_sq,
    sum(f * f) AS first_sq,
    sum(f * n) AS first_n,
    sum(ndcg_searches) AS ndcg_searches,
    sum(ndcg_sum)::double AS ndcg_sum,
    sum(ndcg_random_sum)::double AS ndcg_random_sum
FROM per_visit
GROUP BY event_date, query_class
""",
    # How far the ratios of the visits lie from the day's: the numerators are whole, so equal ones are 0 apart.
    "apart": f"""
SELECT event_date, query_class,
    sqrt(units / (units - 1) * sum((dx * dx)::decimal(38, 18))::double) / known_searches AS se_x,
    sqrt(units / (units - 1) * sum((df * df)::decimal(38, 18))::double) / known_searches AS se_f
FROM (
    SELECT event_date, query_class, units, known_searches,
        (per_visit.x * known_searches - per_class.x * n)::double / known_searches / {WHOLE} AS dx,
        (f * known_searches - first_result * n)::double / known_searches AS df
    FROM per_visit
    JOIN per_class USING (event_date, query_class)
    WHERE n > 0 AND units > 1
)
GROUP BY event_date, query_class, units, known_searches
""",
    SEARCH_QUALITY.name: f"""
SELECT per_class.*,
    x / {WHOLE} AS rr_sum,
    first_result / nullif(known_searches, 0) AS ctr_at_1,
    top_3 / nullif(known_searches, 0) AS ctr_at_3,
    top_10 / nullif(known_searches, 0) AS ctr_at_10,
    rr_sum / nullif(known_searches, 0) AS mrr,
    CASE WHEN units > 1 THEN greatest(mrr - {_Z} * se_x, 0) END AS mrr_low,
    CASE WHEN units > 1 THEN least(mrr + {_Z} * se_x, 1) END AS mrr_high,
    CASE WHEN units > 1 THEN greatest(ctr_at_1 - {_Z} * se_f, 0) END AS ctr_at_1_low,
    CASE WHEN units > 1 THEN least(ctr_at_1 + {_Z} * se_f, 1) END AS ctr_at_1_high,
    xx / {WHOLE} / {WHOLE} AS rr_sq,
    xn / {WHOLE} AS rr_n,
    ndcg_sum / nullif(ndcg_searches, 0) AS ndcg_at_10,
    ndcg_random_sum / nullif(ndcg_searches, 0) AS ndcg_at_10_random
FROM per_class
LEFT JOIN apart USING (event_date, query_class)
""",
    # -- popular_queries
    "asked": f"""
SELECT event_date,
    CASE WHEN is_shared THEN query END AS query,
    sum(clicks) AS clicks,
    count(*) AS searches,
    count(DISTINCT session_id) AS sessions,
    count(best_rank) AS known_searches,
    count(*) FILTER (best_rank = 1) AS first_result,
    count(*) FILTER (best_rank <= 10) AS top_10,
    {reciprocal_sum("best_rank")} AS rr_sum,
    count(kind) AS refined,
    min(query_class) FILTER (is_shared) AS query_class,
    min(week_before) FILTER (is_shared) AS week_before
FROM searches
WHERE searches.query IS NOT NULL
GROUP BY event_date, CASE WHEN is_shared THEN searches.query END
""",
    POPULAR_QUERIES.name: """
SELECT asked.*,
    rr_sum / nullif(known_searches, 0) AS mrr,
    CASE WHEN query IS NOT NULL THEN row_number() OVER (
        PARTITION BY event_date, query IS NULL ORDER BY sessions DESC, clicks DESC, query
    ) END AS rank_in_day,
    100 * (clicks - week_before) / week_before AS wow_pct
FROM asked
""",
    # -- query_change_days
    QUERY_CHANGE_DAYS.name: f"""
SELECT event_date, kind,
    count(session_id) AS changes,
    {CHANGE_SUMS}
FROM dates
CROSS JOIN (SELECT unnest({list(KINDS)}) AS kind)
LEFT JOIN searches USING (event_date, kind)
GROUP BY event_date, kind
""",
    # -- hourly_traffic
    "hours": "SELECT *, first_click_ts // 3600000000 % 24 AS hour FROM searches",
    HOURLY_TRAFFIC.name: """
SELECT event_date, hour,
    coalesce(sum(clicks), 0) AS clicks,
    count(clicks) AS searches,
    count(*) FILTER (begins_visit) AS visits
FROM dates
CROSS JOIN (SELECT unnest(range(24)) AS hour)
LEFT JOIN hours USING (event_date, hour)
GROUP BY event_date, hour
""",
}
BY_DAY: Final = (CLICK_POSITIONS, SEARCH_QUALITY, POPULAR_QUERIES, QUERY_CHANGE_DAYS, HOURLY_TRAFFIC)
ROWS_BY_DAY: Final = {table.name: statement(DAYS, schema(table), table.name) for table in BY_DAY}
