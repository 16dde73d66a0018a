"""What searches visits are made of, as SQL of curated clicks, and how a query differs from the one before it."""

from __future__ import annotations

import math
from typing import Final

from jobs.spark import tables
from jobs.spark.visits import in_visits

PLACES: Final = 20  # of a result page: jobs.contract takes no longer one
KINDS: Final = ("new topic", "same words", "narrower", "broader", "beside it")
# 1 / place is a whole number of these up to the last place of a page: sums of them are the same in whatever order they
# are made, and so are sums of their products.
WHOLE: Final = math.lcm(*range(1, PLACES + 1))

SEARCHES_COLUMNS: Final = {
    "event_date": "date",
    "session_id": "string",
    "visit_no": "int",
    "search_no": "int",
    "first_click_ts": "timestamp",
    "last_click_ts": "timestamp",
    "begins_visit": "boolean",
    "query": "string",
    "clicks": "bigint",
    "best_rank": "int",  # null when no result page is known
    "first_rank": "int",  # of the first click whose place is known
    "ranks": "int",  # of the clicks, as bits: 1 << rank
    "shown": "int",  # documents of that click's page
    "page": "array<bigint>",
    "documents": "array<bigint>",  # that were clicked, each once
    "areas": "array<string>",  # of these, each once
    "next_query": "string",  # of the visit's next search that has one, when it is another
    "next_best_rank": "int",
    "is_settled": "boolean",  # that one is the visit's last query
    "kind": "string",  # of the change
}


def reciprocal_sum(place: str) -> str:
    """The sum of 1 / place."""
    return f"coalesce(sum({WHOLE} // {place}), 0) / {WHOLE}"


# Of searches that were followed by one with another query: how either ended.
CHANGE_SUMS: Final = f"""count(best_rank) AS known_before,
    {reciprocal_sum("best_rank")} AS rr_before,
    count(next_best_rank) AS known_after,
    {reciprocal_sum("next_best_rank")} AS rr_after,
    count(*) FILTER (next_best_rank = 1) AS first_after,
    count(*) FILTER (is_settled) AS settled"""

# Of a query, without operators, each once.
WORDS: Final = r"""list_distinct(list_filter(
    string_split(regexp_replace(
        regexp_replace(query, 'title:|\b(from|to|tag):\S*|~\d+', ' ', 'g'), '[^\pL\pN]+', ' ', 'g'
    ), ' '),
    lambda word: word NOT IN ('', 'and', 'or', 'not')
))"""

# A row a search.
SEARCHES: Final = {
    **in_visits("session_id, event_id, event_ts, document_id, query, click_rank, clinical_areas"),
    "found": """
SELECT session_id, visit_no, search_no,
    min(event_ts) AS first_click_ts,
    max(event_ts) AS last_click_ts,
    any_value(query) AS query,
    count(*) AS clicks,
    min(click_rank) AS best_rank,
    arg_min(click_rank, (event_ts, event_id)) FILTER (click_rank IS NOT NULL) AS first_rank,
    bit_or(1 << click_rank) AS ranks,
    arg_min(id, (event_ts, event_id)) FILTER (click_rank IS NOT NULL) AS id,
    list_sort(list(DISTINCT document_id)) AS documents,
    list_sort(list_distinct(flatten(list(clinical_areas) FILTER (clinical_areas IS NOT NULL)))) AS areas
FROM visits
GROUP BY session_id, visit_no, search_no
""",
    "pages": "SELECT rowid AS id, documents AS page, len(documents) AS shown FROM input",
    "asked": """
SELECT session_id, search_no, query,
    lead(query) OVER visit AS next_query,
    lead(best_rank) OVER visit AS next_best_rank,
    lead(query, 2) OVER visit IS NULL AS is_settled
FROM found
WHERE query IS NOT NULL
WINDOW visit AS (PARTITION BY session_id, visit_no ORDER BY search_no)
""",
    "changed": "FROM asked WHERE next_query <> query",
    "words": f"""
SELECT query, {WORDS} AS words FROM (SELECT query FROM changed UNION SELECT next_query FROM changed)
""",
    "changes": f"""
SELECT changed.* EXCLUDE (query),
    len(list_intersect(before.words, after.words)) AS common,
    CASE
        WHEN common = 0 THEN '{KINDS[0]}'
        WHEN common = len(before.words) AND common = len(after.words) THEN '{KINDS[1]}'
        WHEN common = len(before.words) THEN '{KINDS[2]}'
        WHEN common = len(after.words) THEN '{KINDS[3]}'
        ELSE '{KINDS[4]}'
    END AS kind
FROM changed
JOIN words AS before USING (query)
JOIN words AS after ON after.query = next_query
""",
    tables.SEARCHES: """
SELECT found.* EXCLUDE (id), page, shown, next_query, next_best_rank, is_settled, kind,
    make_timestamp(first_click_ts)::date AS event_date,
    search_no = min(search_no) OVER (PARTITION BY session_id, visit_no) AS begins_visit
FROM found
LEFT JOIN pages USING (id)
LEFT JOIN changes USING (session_id, search_no)
""",
}
