"""What people search for, as SQL of the curated clicks. Each metric is defined here and nowhere else.

What each column means is in columns_search.py. Sessions, whole, make the searches; a search belongs whole to the UTC
day of its first click, so that days add up. Then each query's searches tell how frequent it was before, and a day's
searches make the rows of that day. What is summed is whole numbers, as in cold_marts.py.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection
from typing import Final

from jobs.grading import DCTR_CODE, DCTR_DOCS, TAIL_MOST, TORSO_MOST
from jobs.spark import tables
from jobs.spark.columns_search import (
    CLICK_POSITIONS,
    HOURLY_TRAFFIC,
    POPULAR_QUERIES,
    QUERY_CHANGE_DAYS,
    QUERY_CHANGES,
    QUERY_DOCUMENTS,
    SEARCH_QUALITY,
    TRENDING,
)
from jobs.spark.partition_sql import MART, union
from jobs.spark.search_ndcg import AGREEMENT, EARLIER_DAYS
from jobs.spark.visits import in_visits

PLACES: Final = 20  # of a result page: jobs.contract takes no longer one
# By the clicks on a query in EARLIER_DAYS. Whichever comes first.
CLASSES: Final = {
    "none": "query IS NULL",
    "new": "before = 0",
    "tail": f"before <= {TAIL_MOST}",
    "torso": f"before <= {TORSO_MOST}",
    "head": "true",
}
KINDS: Final = ("new topic", "same words", "narrower", "broader", "beside it")
# A query has a row of its own on a day when so many days until it have two sessions that asked it.
SHARED_DAYS: Final = 364
WEEK: Final = 7
# The days after one whose clicks change, from and to, on which rows of a table change besides.
AFFECTED: Final[dict[str, tuple[int, int]]] = {
    tables.SEARCH_QUALITY: EARLIER_DAYS,
    tables.TRENDING: (0, 34),
    tables.POPULAR_QUERIES: (0, max(EARLIER_DAYS[1], SHARED_DAYS - 1, WEEK)),
}
DAYS_BACK: Final = max(last for _, last in AFFECTED.values())
# 1 / place is a whole number of these up to the last place of a page: sums of them are the same in whatever order they
# are made, and so are sums of their products.
_WHOLE: Final = math.lcm(*range(1, PLACES + 1))
_Z: Final = 1.96  # of the normal distribution: 95 % lie between

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
    "ranks": "array<int>",
    "shown": "int",  # documents of that click's page
    "page": "array<bigint>",
    "documents": "array<bigint>",  # that were clicked, each once
    "areas": "array<string>",  # of these, each once
    "next_query": "string",  # of the visit's next search that has one, when it is another
    "next_best_rank": "int",
    "is_settled": "boolean",  # that one is the visit's last query
    "kind": "string",  # of the change
}
_NOT_OF_DAYS: Final = ("search_no", "last_click_ts", "page", "documents", "areas")
# A search as the rows of a day see it.
CLASSIFIED_COLUMNS: Final = {
    **{name: kind for name, kind in SEARCHES_COLUMNS.items() if name not in _NOT_OF_DAYS},
    "query_class": "string",
    "is_shared": "boolean",
    "week_before": "bigint",
    "ndcg": "double",  # null when no document of the page has a grade by earlier clicks
    "ndcg_random": "double",
}


def _sum_of(place: str) -> str:
    """The sum of 1 / place."""
    return f"coalesce(sum({_WHOLE} // {place}), 0) / {_WHOLE}"


# Of a query, without operators, each once.
_WORDS: Final = r"""list_distinct(list_filter(
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
    list_sort(list(DISTINCT click_rank) FILTER (click_rank IS NOT NULL)) AS ranks,
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
SELECT query, {_WORDS} AS words FROM (SELECT query FROM changed UNION SELECT next_query FROM changed)
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

# The rows of the tables by day, of classified searches of whole days.
DAYS: Final = {
    "searches": f"SELECT *, {_WHOLE} // best_rank AS reciprocal FROM input",
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
        CASE WHEN rank = 0 THEN best_rank IS NULL ELSE list_contains(ranks, rank) END
    ), 0) AS clicked,
    coalesce(sum(searches) FILTER (best_rank = rank), 0) AS best,
    coalesce(sum(searches) FILTER (first_rank = rank), 0) AS first_clicked,
    coalesce(sum(searches) FILTER (
        rank > 0 AND list_max(ranks) > rank AND NOT list_contains(ranks, rank)
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
    count(next_query) AS refined,
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
        (per_visit.x * known_searches - per_class.x * n)::double / known_searches / {_WHOLE} AS dx,
        (f * known_searches - first_result * n)::double / known_searches AS df
    FROM per_visit
    JOIN per_class USING (event_date, query_class)
    WHERE n > 0 AND units > 1
)
GROUP BY event_date, query_class, units, known_searches
""",
    SEARCH_QUALITY.name: f"""
SELECT per_class.*,
    x / {_WHOLE} AS rr_sum,
    first_result / nullif(known_searches, 0) AS ctr_at_1,
    top_3 / nullif(known_searches, 0) AS ctr_at_3,
    top_10 / nullif(known_searches, 0) AS ctr_at_10,
    rr_sum / nullif(known_searches, 0) AS mrr,
    CASE WHEN units > 1 THEN greatest(mrr - {_Z} * se_x, 0) END AS mrr_low,
    CASE WHEN units > 1 THEN least(mrr + {_Z} * se_x, 1) END AS mrr_high,
    CASE WHEN units > 1 THEN greatest(ctr_at_1 - {_Z} * se_f, 0) END AS ctr_at_1_low,
    CASE WHEN units > 1 THEN least(ctr_at_1 + {_Z} * se_f, 1) END AS ctr_at_1_high,
    xx / {_WHOLE} / {_WHOLE} AS rr_sq,
    xn / {_WHOLE} AS rr_n,
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
    {_sum_of("best_rank")} AS rr_sum,
    count(next_query) AS refined,
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
    count(next_query) AS changes,
    count(best_rank) AS known_before,
    {_sum_of("best_rank")} AS rr_before,
    count(next_best_rank) AS known_after,
    {_sum_of("next_best_rank")} AS rr_after,
    count(*) FILTER (next_best_rank = 1) AS first_after,
    count(*) FILTER (is_settled) AS settled
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
DAYS_OF_ALL: Final = {
    **DAYS,
    "all_marts": union(BY_DAY),
}

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
    count(best_rank) AS known_before,
    {_sum_of("best_rank")} AS rr_before,
    count(next_best_rank) AS known_after,
    {_sum_of("next_best_rank")} AS rr_after,
    count(*) FILTER (next_best_rank = 1) AS first_after,
    count(*) FILTER (is_settled) AS settled
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
    "snapshots": f"""
SELECT '{QUERY_CHANGES.name}' AS {MART}, * FROM {QUERY_CHANGES.name}
UNION ALL BY NAME
SELECT '{QUERY_DOCUMENTS.name}' AS {MART}, seen.*, pages AS searches FROM seen JOIN asked USING (query)
""",
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
LEAST_VISITS: Final = 5  # in the last week, of an item that is tested
SIGNIFICANT: Final = 0.01  # the share of what is called significant that is found by chance, at most
LEAST_LETTERS: Final = 3  # of a word
# What each day's visits were about, a visit once, and whether more were than in the four weeks before the last one;
# `input` also has the searches of these weeks (`is_earlier`).
TRENDS: Final = {
    "words": f"SELECT query, unnest({_WORDS}) AS word FROM (SELECT DISTINCT query FROM input WHERE query IS NOT NULL)",
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
SNAPSHOTS: Final = (tables.QUERY_CHANGES, tables.QUERY_DOCUMENTS)


def touched(table: str, days: Collection[dt.date]) -> set[dt.date] | None:
    """The days of a table whose rows change when the clicks of `days` do, whether or not there are clicks on them.

    None: all rows do.
    """
    if table in SNAPSHOTS:
        return None
    found = set(days)
    if table in AFFECTED:
        first, last = AFFECTED[table]
        found.update(day + dt.timedelta(days=later) for day in days for later in range(first, last + 1))
    return found
