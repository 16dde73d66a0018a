"""nDCG@10 of each search's result page, by earlier clicks: how high it ranks what was clicked before.

A document's gain is its grade (jobs.grading) of the query in EARLIER_DAYS, or 0 when it was not shown twice there; the
ideal order is that of the same page. As trec_eval has it: gains are not exponents. A document that a page has twice
counts at its first place.
"""

from __future__ import annotations

import math
from typing import Final

from jobs.grading import DCTR_CODE

# Before a day, from and to, of which clicks are earlier ones. Of the last days none is: clicks that are late by less
# than that change no day that is written.
EARLIER_DAYS: Final = (7, 371)
CUTOFF: Final = 10
# What a grade counts at each place, and at all places up to one, from 0, in whole numbers: the same sums in any order.
_WHOLE: Final = 10**15
_DISCOUNTS: Final = [round(_WHOLE / math.log2(1 + place)) for place in range(1, CUTOFF + 1)]
_TOTALS: Final = [sum(_DISCOUNTS[:places]) for places in range(CUTOFF + 1)]


def _total(places: str) -> str:
    """What a grade of 1 at the first so many places counts; lists begin at 1."""
    return f"{_TOTALS}[1 + least({places}, {CUTOFF})]"


# From `input`, searches with all others of their queries in EARLIER_DAYS, to `agreement`: the rowid of each search that
# is not only looked back at and whose page has a grade, ndcg, and ndcg_random, the mean of all orders of the page.
AGREEMENT: Final = {
    # For only these can there be a grade.
    "repeated": f"""
SELECT query, row_number() OVER () AS number
FROM (
    SELECT query
    FROM input
    WHERE query IS NOT NULL AND page IS NOT NULL
    GROUP BY query
    HAVING max(event_date) FILTER (NOT is_earlier) - min(event_date) >= {EARLIER_DAYS[0]}
)
""",
    "pages": """
SELECT input.rowid AS id, number, event_date - DATE '1970-01-01' AS day, is_earlier, page, documents
FROM input
JOIN repeated USING (query)
WHERE page IS NOT NULL
""",
    "hits": """
SELECT number, document_id, day, count(*) AS clicked
FROM (SELECT number, day, unnest(list_intersect(documents, page)) AS document_id FROM pages)
GROUP BY number, document_id, day
""",
    # What was never clicked has no grade.
    "places": """
SELECT id, number, day, is_earlier, document_id, rank
FROM (SELECT *, unnest(page) AS document_id, unnest(range(1, len(page) + 1)) AS rank FROM pages)
SEMI JOIN hits USING (number, document_id)
WHERE list_position(page, document_id) = rank
""",
    "impressions": "SELECT number, document_id, day, count(*) AS shown FROM places GROUP BY number, document_id, day",
    "earlier": f"""
SELECT number, document_id, day, sum(shown) OVER before AS shown, sum(clicked) OVER before AS clicked
FROM impressions
LEFT JOIN hits USING (number, document_id, day)
WINDOW before AS (
    PARTITION BY number, document_id
    ORDER BY day RANGE BETWEEN {EARLIER_DAYS[1]} PRECEDING AND {EARLIER_DAYS[0]} PRECEDING
)
""",
    "graded": f"SELECT number, document_id, day, {DCTR_CODE} AS grade FROM earlier WHERE shown > 1 AND clicked > 0",
    "gains": f"""
SELECT id,
    sum(grade) AS gain,
    coalesce(sum(grade * {_DISCOUNTS}[rank]) FILTER (rank <= {CUTOFF}), 0) AS dcg,
    {" + ".join(_total(f"count(*) FILTER (grade >= {grade})") for grade in (1, 2, 3))} AS ideal
FROM places
JOIN graded USING (number, document_id, day)
WHERE grade > 0 AND NOT is_earlier
GROUP BY id
""",
    "agreement": f"""
SELECT id, dcg / ideal AS ndcg, gain * {_total("len(page)")} / len(page) / ideal AS ndcg_random
FROM gains
JOIN pages USING (id)
""",
}
