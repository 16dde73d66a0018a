"""The search marts without days, as SQL of the searches of a year: what queries lead to."""

from __future__ import annotations

from typing import Final

from jobs.grading import DCTR_CODE, DCTR_DOCS
from jobs.spark import tables
from jobs.spark.columns import schema
from jobs.spark.columns_search import QUERY_CHANGES, QUERY_DOCUMENTS
from jobs.spark.partition_sql import statement
from jobs.spark.searches import CHANGE_SUMS

SNAPSHOTS: Final = (tables.QUERY_CHANGES, tables.QUERY_DOCUMENTS)
# The newest day, and those before it whose searches the tables without days are built from.
WINDOW_DAYS: Final = 364
LEAST_SESSIONS: Final = 3  # of a change that is listed
LEAST_SEARCHES: Final = 10  # of a query whose documents are listed
LEAST_SHOWN: Final = 10  # of a document that is tested
FALSE_SHARE: Final = 0.05  # of what is found at most
TOP: Final = 3  # the places that everybody sees
_TERMS: Final = "50 + 10 * ceil(sqrt(expected))"  # of the tail of a Poisson distribution: those after it are nothing

# Of all searches of some queries in the window: the rows of query_changes, and what query_documents counts. `positions`
# are the rows of click_positions, `newest` the newest day.
OF_QUERIES: Final = {
    "asked": f"""
SELECT query,
    count(*) AS searches,
    count(page) AS pages,
    count(page) >= {LEAST_SEARCHES} AND min(session_id) <> max(session_id) AS is_frequent
FROM input
WHERE length(query) <= {tables.LONGEST_QUERY}
GROUP BY query
""",
    "changed": f"""
SELECT query, next_query,
    min(kind) AS kind,
    count(*) AS changes,
    count(DISTINCT session_id) AS sessions,
    {CHANGE_SUMS}
FROM input
WHERE length(next_query) <= {tables.LONGEST_QUERY}
GROUP BY query, next_query
HAVING count(DISTINCT session_id) >= {LEAST_SESSIONS}
""",
    QUERY_CHANGES.name: """
SELECT newest.event_date AS as_of, changed.*, changes / searches AS change_share
FROM changed
JOIN asked USING (query)
CROSS JOIN newest
""",
    "places": "SELECT rank, sum(clicked) AS clicks, sum(shown) AS pages FROM positions WHERE shown > 0 GROUP BY rank",
    "impressions": """
SELECT query, page, document_id, rank, list_contains(documents, document_id) AS is_clicked
FROM (
    SELECT query, page, documents, unnest(page) AS document_id, unnest(range(1, len(page) + 1)) AS rank
    FROM input
    SEMI JOIN (FROM asked WHERE is_frequent) USING (query)
)
WHERE list_position(page, document_id) = rank
""",
    "counted": """
SELECT query, document_id, rank, count(*) AS shown, count(*) FILTER (is_clicked) AS clicked
FROM impressions
GROUP BY query, document_id, rank
""",
    "seen": """
SELECT newest.event_date AS as_of, query, document_id,
    sum(shown) AS shown,
    sum(clicked) AS clicked,
    sum(shown * rank) / sum(shown) AS avg_rank,
    min(rank) AS best_rank_shown,
    sum((shown * clicks / pages)::decimal(38, 18))::double AS expected
FROM counted
JOIN places USING (rank)
CROSS JOIN newest
GROUP BY newest.event_date, query, document_id
""",
    "listed": "SELECT seen.*, pages AS searches FROM seen JOIN asked USING (query)",
}
# What is counted of a query's document, of all of them at once.
COUNTED_COLUMNS: Final = {
    "as_of": "date",
    "query": "string",
    "document_id": "bigint",
    "searches": "bigint",
    "shown": "bigint",
    "clicked": "bigint",
    "avg_rank": "double",
    "best_rank_shown": "int",
    "expected": "double",
}
ROWS_OF_QUERIES: Final = {
    QUERY_CHANGES.name: statement(OF_QUERIES, schema(QUERY_CHANGES), QUERY_CHANGES.name),
    QUERY_DOCUMENTS.name: statement(OF_QUERIES, COUNTED_COLUMNS, "listed"),
}


def _poisson(first: str, end: str) -> str:
    """The probability that a Poisson variable of mean `expected` is from `first` to before `end`."""
    term = "exp(n * ln(expected) - expected - lgamma(n + 1))"
    return f"coalesce(list_sum(list_transform(range({first}, ({end})::bigint), lambda n: {term})), 0)"


def _false_share(p: str) -> str:
    """By Benjamini and Hochberg: of what has such a p or a lower one, the share that is found by chance, at most."""
    return f"min({p} * tested / of_{p}) OVER (ORDER BY {p} DESC)"


DOCUMENTS: Final = {
    "tails": f"""
SELECT *,
    CASE
        WHEN expected = 0 THEN (clicked = 0)::int
        WHEN clicked > expected THEN {_poisson("clicked", f"clicked + {_TERMS}")}
        ELSE 1 - {_poisson("0", "clicked")}
    END AS p_more,
    CASE WHEN expected = 0 THEN 1 ELSE least({_poisson("0", "clicked + 1")}, 1) END AS p_less
FROM input
""",
    "ordered": f"""
SELECT query, document_id, p_more, p_less,
    count(*) OVER () AS tested,
    row_number() OVER (ORDER BY p_more) AS of_p_more,
    row_number() OVER (ORDER BY p_less) AS of_p_less
FROM tails
WHERE shown >= {LEAST_SHOWN}
""",
    "tested": f"""
SELECT query, document_id, {_false_share("p_more")} AS q_more, {_false_share("p_less")} AS q_less FROM ordered
""",
    QUERY_DOCUMENTS.name: f"""
SELECT tails.*, q_more, q_less,
    clicked / shown AS ctr,
    CASE WHEN shown > 1 THEN {DCTR_CODE} END AS dctr_grade_code,
    CASE WHEN shown > 1 THEN {DCTR_DOCS} END AS dctr_grade_docs,
    clicked / nullif(expected, 0) AS lift,
    CASE
        WHEN q_more <= {FALSE_SHARE} AND avg_rank > {TOP} THEN 'deserves a better place'
        WHEN q_less <= {FALSE_SHARE} AND avg_rank <= {TOP} THEN 'shown too high'
    END AS verdict
FROM tails
LEFT JOIN tested USING (query, document_id)
""",
}
