"""The tables of what people search for, and their columns.

The log has searches that ended in a click, and no others: no number here says how many found nothing.
"""

from __future__ import annotations

from typing import Final

from jobs.spark import tables
from jobs.spark.columns import Column, Table

_DAY: Final = Column("event_date", "date", "UTC date of the first click of the searches")
_QUALITY: Final = "of known_searches; NULL when there are none"
_SEARCHES: Final = Column("searches", "bigint", "Searches: runs of clicks of a visit with the same query", "searches")
_CLICKS: Final = Column("clicks", "bigint", "Clicks of these searches, each counted once however often sent", "clicks")
_KNOWN: Final = Column(
    "known_searches", "bigint", "Searches with a clicked document whose place on its page is known", "searches"
)
_FIRST: Final = Column("first_result", "bigint", "Searches whose best clicked place is the first", "searches")
_TOP_10: Final = Column("top_10", "bigint", "Searches whose best clicked place is among the first 10", "searches")
_RR: Final = Column("rr_sum", "double precision", "Sum over known_searches of 1 / the best clicked place")
_MRR: Final = Column("mrr", "double precision", f"Mean reciprocal rank: rr_sum {_QUALITY}", "0 to 1")
_REFINED: Final = Column(
    "refined",
    "bigint",
    "Searches whose visit continues with another query; searches without a query are ignored",
    "searches",
)
_CLASS: Final = (
    "clicks on the query in the days from 371 to 7 before: none new, 1 to 5 tail, 6 to 44 torso, 45 and more head"
)

CLICK_POSITIONS: Final = Table(
    tables.CLICK_POSITIONS,
    "21 rows per UTC day: the places 1 to 20 of a result page, and 0 for clicks without a known place. The CTR of a "
    "place is clicked / shown, its skip rate skipped / (skipped + clicked); both are shares of searches that ended in "
    "a click, since the log has no others. All columns add up over days. Recomputed daily.",
    ("event_date", "rank"),
    (
        _DAY,
        Column("rank", "smallint", "Place on the result page, from 1; 0 is not a place: see clicked"),
        Column("shown", "bigint", "Searches whose page reaches this place; 0 at rank 0", "searches"),
        Column(
            "clicked",
            "bigint",
            "Searches with a click at this place; at rank 0, searches none of whose clicks has a known place",
            "searches",
        ),
        Column("best", "bigint", "Searches whose best clicked place is this one", "searches"),
        Column("first_clicked", "bigint", "Searches whose first click with a known place was here", "searches"),
        Column("skipped", "bigint", "Searches without a click here but with one further down", "searches"),
    ),
)


def _bound(of: str, which: str) -> Column:
    return Column(
        f"{of}_{which}",
        "double precision",
        f"{'Lower' if which == 'low' else 'Upper'} end of the 95 % confidence interval of {of}, computed from how "
        "the visits differ and cut to 0 to 1; NULL with fewer than two units",
        "0 to 1",
    )


SEARCH_QUALITY: Final = Table(
    tables.SEARCH_QUALITY,
    "One row per UTC day and class of query, and one for all searches of the day; a class without searches has no row. "
    "Sums add up over days, visits do not. A day's rates are accurate to about 0.03. Recomputed daily.",
    ("event_date", "query_class"),
    (
        _DAY,
        Column("query_class", "text", f"By {_CLASS}; none is a search without a query, all is every search"),
        _SEARCHES,
        _CLICKS,
        Column("visits", "bigint", "Visits with such a search on the day", "visits"),
        _KNOWN,
        _REFINED,
        _FIRST,
        Column("top_3", "bigint", "Searches whose best clicked place is among the first 3", "searches"),
        _TOP_10,
        _RR,
        Column("ctr_at_1", "double precision", f"first_result {_QUALITY}", "0 to 1"),
        Column("ctr_at_3", "double precision", f"top_3 {_QUALITY}", "0 to 1"),
        Column("ctr_at_10", "double precision", f"top_10 {_QUALITY}", "0 to 1"),
        _MRR,
        _bound("mrr", "low"),
        _bound("mrr", "high"),
        _bound("ctr_at_1", "low"),
        _bound("ctr_at_1", "high"),
        Column(
            "units",
            "bigint",
            "Visits with known_searches: n of them, whose 1 / best place add up to x, and f of which are first_result. "
            "rr_sq to first_n give the interval for a period of several days",
            "visits",
        ),
        Column("rr_sq", "double precision", "Sum over units of x²"),
        Column("rr_n", "double precision", "Sum over units of x · n"),
        Column("n_sq", "bigint", "Sum over units of n²"),
        Column("first_sq", "bigint", "Sum over units of f²"),
        Column("first_n", "bigint", "Sum over units of f · n"),
        Column(
            "ndcg_searches",
            "bigint",
            "Searches whose page shows a document with a grade above 0: dctr_grade_code of query_documents, but by the "
            "query's searches in the days from 371 to 7 before",
            "searches",
        ),
        Column(
            "ndcg_sum",
            "double precision",
            "Sum over ndcg_searches of nDCG@10 by these grades, as trec_eval computes it, where the ideal is the best "
            "order of the same page",
        ),
        Column("ndcg_random_sum", "double precision", "The same of the page in random order: the mean of all orders"),
        Column(
            "ndcg_at_10",
            "double precision",
            "ndcg_sum / ndcg_searches: agreement with earlier clicks, which were made on such pages: it drops when the "
            "ranking changes, and is no mark of quality; NULL when there are none",
            "0 to 1",
        ),
        Column("ndcg_at_10_random", "double precision", "ndcg_random_sum / ndcg_searches likewise", "0 to 1"),
    ),
)

POPULAR_QUERIES: Final = Table(
    tables.POPULAR_QUERIES,
    "One row per UTC day and query that at least two sessions used in the 364 days up to that day. One more row per "
    "day, without a query, combines its other queries, which may contain personal text, and those of more than "
    f"{tables.LONGEST_QUERY} characters. Sums add up over days, sessions do not. Recomputed daily.",
    ("event_date", "query"),
    (
        _DAY,
        Column("query", "text", "Normalised Keywords; NULL: all queries without their own row"),
        _CLICKS,
        _SEARCHES,
        Column("sessions", "bigint", "Distinct session_id of these searches", "sessions"),
        _KNOWN,
        _FIRST,
        _TOP_10,
        _RR,
        _MRR,
        _REFINED,
        Column("query_class", "text", f"By {_CLASS}; NULL without a query"),
        Column(
            "rank_in_day",
            "integer",
            "From 1: by sessions, then clicks (both descending), then query; NULL without a query",
        ),
        Column(
            "wow_pct",
            "double precision",
            "Change of clicks from the same weekday a week before; NULL when it had no clicks then",
            "%",
        ),
    ),
)

QUERY_CHANGE_DAYS: Final = Table(
    tables.QUERY_CHANGE_DAYS,
    "Five rows per UTC day: how a search's query differs from the next one of the visit. Both searches ended in a "
    "click; those in between without a click are not in the log. All columns add up over days. Recomputed daily.",
    ("event_date", "kind"),
    (
        _DAY,
        Column(
            "kind",
            "text",
            "By the words of both queries, without operators: new topic (none in common), same words, narrower (words "
            "were added), broader (words were removed), beside it (both)",
        ),
        Column(
            "changes",
            "bigint",
            "Searches followed by another in this way; a repeat of the same query is not counted",
            "changes",
        ),
        Column("known_before", "bigint", "Of these, those whose best clicked place is known", "searches"),
        Column("rr_before", "double precision", "Sum over known_before of 1 / the best clicked place"),
        Column("known_after", "bigint", "Of the next searches, those whose best clicked place is known", "searches"),
        Column("rr_after", "double precision", "Sum over known_after of 1 / the best clicked place"),
        Column(
            "first_after", "bigint", "Of the next searches, those whose best clicked place is the first", "searches"
        ),
        Column("settled", "bigint", "Changes after which the visit has no further query", "changes"),
    ),
)

HOURLY_TRAFFIC: Final = Table(
    tables.HOURLY_TRAFFIC,
    "24 rows per UTC day: when people search. All columns add up. Recomputed daily.",
    ("event_date", "hour"),
    (
        _DAY,
        Column("hour", "smallint", "UTC hour of the first click, 0 to 23"),
        Column("clicks", "bigint", "Clicks of the searches that began in this hour", "clicks"),
        Column("searches", "bigint", "Searches that began in this hour", "searches"),
        Column("visits", "bigint", "Visits that began in this hour", "visits"),
    ),
)

_AS_OF: Final = Column("as_of", "date", "UTC date of the newest search; the rows cover the 364 days up to it")

QUERY_CHANGES: Final = Table(
    tables.QUERY_CHANGES,
    "One row per query and next query, if the change was made in at least three sessions of the last 364 days. "
    f"Queries of more than {tables.LONGEST_QUERY} characters are left out. Recomputed daily.",
    ("query", "next_query"),
    (
        _AS_OF,
        Column("query", "text", "Normalised Keywords"),
        Column("next_query", "text", "The next query of the visit"),
        Column("kind", "text", "As in query_change_days"),
        Column("changes", "bigint", "How often the one followed the other", "changes"),
        Column("sessions", "bigint", "Distinct session_id of these changes", "sessions"),
        *QUERY_CHANGE_DAYS.columns[3:],
        Column("change_share", "double precision", "changes / searches of the query", "0 to 1"),
    ),
)

QUERY_DOCUMENTS: Final = Table(
    tables.QUERY_DOCUMENTS,
    "One row per query and document on its result pages, clicked or not, in the last 364 days, if the query has at "
    "least ten searches with a known page, in two sessions or more. Only frequent queries can be judged: a document "
    "at place 8 in 40 searches needs six times the expected clicks for a verdict. Recomputed daily.",
    ("query", "document_id"),
    (
        _AS_OF,
        Column("query", "text", "Normalised Keywords"),
        Column("document_id", "bigint", "DocumentId of the log"),
        Column("title", "text", "The latest title that is not empty; NULL when it was not clicked in these days"),
        Column("searches", "bigint", "Searches of the query with a known page", "searches"),
        Column("shown", "bigint", "Of these, those whose page shows the document", "searches"),
        Column("clicked", "bigint", "Of these, those in which it was clicked", "searches"),
        Column("ctr", "double precision", "clicked / shown, of searches that ended in a click", "0 to 1"),
        Column(
            "dctr_grade_code",
            "smallint",
            "TripClick's grade by the code of its benchmark: 3 always clicked, 2 from 30 %, 1 from 4 %, else 0; NULL "
            "when it was shown only once",
        ),
        Column(
            "dctr_grade_docs",
            "smallint",
            "The grade as ir_datasets describes it: 3 above 30 %, 2 from 4 %, 1 clicked at all, else 0; NULL when it "
            "was shown only once",
        ),
        Column("avg_rank", "double precision", "Mean place on these pages, from 1", "place"),
        Column("best_rank_shown", "smallint", "Its best place on these pages", "place"),
        Column(
            "expected",
            "double precision",
            "Searches in which it would be clicked if places alone decided: for each page that shows it, the CTR of "
            "its place over all searches of these days (click_positions), added up",
            "searches",
        ),
        Column("lift", "double precision", "clicked / expected; NULL when nothing was expected"),
        Column("p_more", "double precision", "Probability of so many clicks or more (Poisson)", "0 to 1"),
        Column("p_less", "double precision", "Probability of so few clicks or fewer (Poisson)", "0 to 1"),
        Column(
            "q_more",
            "double precision",
            "p_more corrected for the number of tests (Benjamini-Hochberg); NULL when shown fewer than 10 times",
            "0 to 1",
        ),
        Column("q_less", "double precision", "p_less corrected likewise", "0 to 1"),
        Column(
            "verdict",
            "text",
            "deserves a better place: q_more is at most 0.05 and avg_rank above 3; shown too high: q_less is at most "
            "0.05 and avg_rank at most 3; else NULL",
        ),
    ),
)

TRENDING: Final = Table(
    tables.TRENDING,
    "One row per UTC day, kind and item that had more visits in the last seven days than the four weeks before "
    "explain, beyond chance; on most days there is none. A busy week is not a trend, since what counts is the share "
    "of all visits. The first five weeks of a log have no rows. Recomputed daily.",
    ("event_date", "kind", "item"),
    (
        Column("event_date", "date", "UTC date, the last of the seven days; at least one visit on it had the item"),
        Column(
            "kind",
            "text",
            "query, document (clicked), term (a query's word of three letters or more) or area (clinical)",
        ),
        Column("item", "text", "The query, DocumentId, word or clinical area"),
        Column("visits_7d", "bigint", "Visits with it in the seven days, each counted once per day", "visits"),
        Column("base_visits_28d", "bigint", "The same in the 28 days before", "visits"),
        Column(
            "expected",
            "double precision",
            "base_visits_28d, scaled by how all items of this kind together have changed since",
            "visits",
        ),
        Column("ratio", "double precision", "visits_7d / expected; NULL when is_new"),
        Column("is_new", "boolean", "No visit had it in the 28 days before"),
        Column(
            "p_value",
            "double precision",
            "Probability that so many of its visits fall in the seven days (binomial)",
            "0 to 1",
        ),
        Column(
            "q_value",
            "double precision",
            "p_value corrected for the items of this day and kind with five visits or more (Benjamini-Hochberg): 0.05 "
            "at most",
            "0 to 1",
        ),
        Column("rank_in_kind", "integer", "From 1: by p_value, then item"),
        Column("is_significant", "boolean", "q_value is 0.01 at most"),
    ),
)

SEARCH: Final = (
    CLICK_POSITIONS,
    SEARCH_QUALITY,
    POPULAR_QUERIES,
    QUERY_CHANGE_DAYS,
    HOURLY_TRAFFIC,
    QUERY_CHANGES,
    QUERY_DOCUMENTS,
    TRENDING,
)
