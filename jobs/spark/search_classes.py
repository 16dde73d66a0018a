"""How frequent the query of a search was before that day, as SQL of searches."""

from __future__ import annotations

from typing import Final

from jobs.grading import TAIL_MOST, TORSO_MOST
from jobs.spark import tables
from jobs.spark.search_ndcg import AGREEMENT, EARLIER_DAYS
from jobs.spark.searches import SEARCHES_COLUMNS

# By the clicks on a query in EARLIER_DAYS. Whichever comes first.
CLASSES: Final = {
    "none": "query IS NULL",
    "new": "before = 0",
    "tail": f"before <= {TAIL_MOST}",
    "torso": f"before <= {TORSO_MOST}",
    "head": "true",
}
# A query has a row of its own on a day when so many days until it have two sessions that asked it.
SHARED_DAYS: Final = 364
WEEK: Final = 7

_NOT_OF_DAYS: Final = ("search_no", "last_click_ts", "page", "documents", "areas", "next_query")
# A search as the rows of a day see it.
CLASSIFIED_COLUMNS: Final = {
    **{name: kind for name, kind in SEARCHES_COLUMNS.items() if name not in _NOT_OF_DAYS},
    "query_class": "string",
    "is_shared": "boolean",
    "week_before": "bigint",
    "ndcg": "double",  # null when no document of the page has a grade by earlier clicks
    "ndcg_random": "double",
}

# The searches with what their queries were before; `input` also has those that are only looked back at (`is_earlier`).
CLASSIFIED: Final = {
    **AGREEMENT,
    "days": """
SELECT query, event_date,
    event_date - DATE '1970-01-01' AS day,
    sum(clicks) AS clicks,
    min(session_id) AS first_session,
    max(session_id) AS last_session
FROM input
WHERE query IS NOT NULL
GROUP BY query, event_date
""",
    "known": f"""
SELECT query, event_date,
    coalesce(sum(clicks) OVER (
        PARTITION BY query ORDER BY day RANGE BETWEEN {EARLIER_DAYS[1]} PRECEDING AND {EARLIER_DAYS[0]} PRECEDING
    ), 0) AS before,
    sum(clicks) OVER (
        PARTITION BY query ORDER BY day RANGE BETWEEN {WEEK} PRECEDING AND {WEEK} PRECEDING
    ) AS week_before,
    min(first_session) OVER year <> max(last_session) OVER year AND length(query) <= {tables.LONGEST_QUERY} AS is_shared
FROM days
WINDOW year AS (PARTITION BY query ORDER BY day RANGE BETWEEN {SHARED_DAYS - 1} PRECEDING AND CURRENT ROW)
""",
    "classified": f"""
SELECT input.*, week_before, coalesce(is_shared, false) AS is_shared, ndcg, ndcg_random,
    CASE {" ".join(f"WHEN {condition} THEN '{name}'" for name, condition in CLASSES.items())} END AS query_class
FROM input
LEFT JOIN known USING (query, event_date)
LEFT JOIN agreement ON agreement.id = input.rowid
WHERE NOT is_earlier
""",
}
