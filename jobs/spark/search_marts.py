"""What people search for: which rows of the search marts change with which clicks.

What each column means is in columns_search.py. Sessions, whole, make the searches (searches.py); a search belongs whole
to the UTC day of its first click, so that days add up. Then each query's searches tell how frequent it was before
(search_classes.py) and what was clicked (search_ndcg.py), and a day's searches make the rows of that day
(search_days.py). search_snapshots.py and search_trends.py have the rest. What is summed is whole numbers, as in
cold_marts.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Final

from jobs.spark import tables
from jobs.spark.search_classes import SHARED_DAYS, WEEK
from jobs.spark.search_ndcg import EARLIER_DAYS
from jobs.spark.search_snapshots import SNAPSHOTS

# The days after one whose clicks change, from and to, on which rows of a table change besides.
AFFECTED: Final[dict[str, tuple[int, int]]] = {
    tables.SEARCH_QUALITY: EARLIER_DAYS,
    tables.TRENDING: (0, 34),
    tables.POPULAR_QUERIES: (0, max(EARLIER_DAYS[1], SHARED_DAYS - 1, WEEK)),
}
DAYS_BACK: Final = max(last for _, last in AFFECTED.values())


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
