"""What is searched for more than before, as SQL of searches: the search mart trending."""

from __future__ import annotations

from typing import Final

from jobs.spark import tables
from jobs.spark.columns_search import TRENDING
from jobs.spark.search_snapshots import FALSE_SHARE
from jobs.spark.searches import WORDS

LEAST_VISITS: Final = 5  # in the last week, of an item that is tested
SIGNIFICANT: Final = 0.01  # the share of what is called significant that is found by chance, at most
LEAST_LETTERS: Final = 3  # of a word
# What each day's visits were about, a visit once, and whether more were than in the four weeks before the last one;
# `input` also has the searches of these weeks (`is_earlier`).
TRENDS: Final = {
    "words": f"SELECT query, unnest({WORDS}) AS word FROM (SELECT DISTINCT query FROM input WHERE query IS NOT NULL)",
    "items": f"""
SELECT event_date, session_id, visit_no, 'query' AS kind, query AS item
FROM input
WHERE length(query) <= {tables.LONGEST_QUERY}
UNION ALL
SELECT event_date, session_id, visit_no, 'document', unnest(documents)::varchar FROM input
UNION ALL
SELECT event_date, session_id, visit_no, 'area', unnest(areas) FROM input
UNION ALL
SELECT event_date, session_id, visit_no, 'term', word
FROM input
JOIN words USING (query)
WHERE length(word) BETWEEN {LEAST_LETTERS} AND {tables.LONGEST_QUERY}
""",
    "daily": """
SELECT kind, item, event_date, event_date - DATE '1970-01-01' AS day, count(DISTINCT (session_id, visit_no)) AS visits
FROM items
GROUP BY kind, item, event_date
""",
    "of_items": """
SELECT kind, item, event_date,
    sum(visits) OVER (PARTITION BY kind, item ORDER BY day RANGE BETWEEN 6 PRECEDING AND CURRENT ROW) AS k1,
    coalesce(sum(visits) OVER (
        PARTITION BY kind, item ORDER BY day RANGE BETWEEN 34 PRECEDING AND 7 PRECEDING
    ), 0) AS k0
FROM daily
""",
    "of_kinds": """
SELECT kind, event_date,
    sum(visits) OVER (PARTITION BY kind ORDER BY day RANGE BETWEEN 6 PRECEDING AND CURRENT ROW) AS n1,
    sum(visits) OVER (PARTITION BY kind ORDER BY day RANGE BETWEEN 34 PRECEDING AND 7 PRECEDING) AS n0,
    sum(visits) OVER (PARTITION BY kind ORDER BY day RANGE BETWEEN 34 PRECEDING AND 28 PRECEDING) AS first_week
FROM (SELECT kind, event_date, day, sum(visits) AS visits FROM daily GROUP BY kind, event_date, day)
""",
    "candidates": f"""
SELECT *, k1 + k0 AS n, n1 / (n1 + n0) AS p
FROM of_items
JOIN of_kinds USING (kind, event_date)
JOIN (SELECT DISTINCT event_date FROM input WHERE NOT is_earlier) USING (event_date)
WHERE k1 >= {LEAST_VISITS} AND first_week > 0
""",
    # The tail of the binomial distribution; what is not more than expected is no trend, whatever its chance.
    "tails": """
SELECT *,
    CASE WHEN k1 > n * p THEN list_sum(list_transform(
        range(k1::bigint, least(n, k1 + 50 + 10 * ceil(sqrt(n * p)))::bigint + 1),
        lambda i: exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * ln(p) + (n - i) * ln(1 - p))
    )) ELSE 1 END AS p_value
FROM candidates
""",
    "ordered": """
SELECT *,
    count(*) OVER (PARTITION BY event_date, kind) AS tested,
    row_number() OVER (PARTITION BY event_date, kind ORDER BY p_value, item) AS rank_in_kind
FROM tails
""",
    "corrected": """
SELECT *, min(p_value * tested / rank_in_kind) OVER (PARTITION BY event_date, kind ORDER BY p_value DESC) AS q_value
FROM ordered
""",
    TRENDING.name: f"""
SELECT event_date, kind, item,
    k1 AS visits_7d,
    k0 AS base_visits_28d,
    k0 * n1 / n0 AS expected,
    k1 / nullif(k0 * n1 / n0, 0) AS ratio,
    k0 = 0 AS is_new,
    p_value, q_value, rank_in_kind,
    q_value <= {SIGNIFICANT} AS is_significant
FROM corrected
WHERE q_value <= {FALSE_SHARE}
""",
}
