"""Curated clicks as the marts see them: each once, in visits and searches. Defined as SQL: see partition_sql.

The functions of DataFrames say the same, for the hot tables until they are SQL too.
"""

from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.event import UNKNOWN_AREA

VISIT_PAUSE_MS: Final = 30 * 60 * 1000

# The rows of `input` that repeat a click: a resend and an exact duplicate line have its event_id, session and time. The
# first copy in Kafka counts.
REPEATS: Final = """
SELECT rowid AS id
FROM input
WHERE event_id IN (SELECT event_id FROM input GROUP BY event_id HAVING count(*) > 1)
QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY topic, "partition", "offset", event_ts) > 1
"""


def deduplicated(columns: str) -> str:
    """The clicks of `input` without `repeats`: these columns, ms (event_ts in milliseconds) and id, a row's number."""
    return f"""
SELECT {columns}, event_ts // 1000 AS ms, rowid AS id
FROM input
WHERE rowid NOT IN (FROM repeats)
"""


# The clicks of `clicks`, with
# session_clicks: how many clicks the session has;
# visit_no: from 1 within a session; a pause of more than 30 minutes starts a new visit;
# gap_ms: since the visit's click before;
# search_no: from 1 within a session; another query, or none, and a new visit start a new search;
# is_reformulation: the query is another than the visit's last one.
VISITS: Final = f"""
WITH paused AS (
    SELECT *,
        count(*) OVER (PARTITION BY session_id) AS session_clicks,
        ms - lag(ms) OVER session AS pause_ms,
        lag(query) OVER session AS query_before
    FROM clicks
    WINDOW session AS (PARTITION BY session_id ORDER BY event_ts, event_id)
), gapped AS (
    SELECT * EXCLUDE (pause_ms), CASE WHEN pause_ms <= {VISIT_PAUSE_MS} THEN pause_ms END AS gap_ms FROM paused
), numbered AS (
    SELECT * EXCLUDE (query_before),
        count_if(gap_ms IS NULL) OVER session AS visit_no,
        count_if(gap_ms IS NULL OR query IS DISTINCT FROM query_before) OVER session AS search_no
    FROM gapped
    WINDOW session AS (PARTITION BY session_id ORDER BY event_ts, event_id ROWS UNBOUNDED PRECEDING)
)
SELECT *, coalesce(query <> last_value(query IGNORE NULLS) OVER before, false) AS is_reformulation
FROM numbered
WINDOW before AS (
    PARTITION BY session_id, visit_no ORDER BY event_ts, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
)
"""


def in_visits(columns: str) -> dict[str, str]:
    """The queries from `input` to `visits`, of clicks with these columns; among them those that VISITS names."""
    return {"repeats": REPEATS, "clicks": deduplicated(columns), "visits": VISITS}


# What the marts need of a click; the rest of the curated stream is not even read.
COLUMNS: Final = (
    "event_ts",
    "source_ts",
    "event_date",
    "document_id",
    "title",
    "url",
    "doi",
    "clinical_areas",
    "query",
    "documents",
    "click_rank",
)
RECORD: Final = ("topic", "partition", "offset")  # its place in Kafka


def once(curated: DataFrame) -> DataFrame:
    """session_id, event_id, RECORD and COLUMNS of the first copy, how many `repeats` it has; each event_id once.

    A resend and an exact duplicate are the same click, and have the same session: once they lie by sessions, neither
    this nor `visits` moves them again.
    """
    copies = curated.repartition("session_id").groupBy("session_id", "event_id")
    first = F.min(F.struct(*RECORD, *COLUMNS)).alias("first")
    return copies.agg(first, (F.count("*") - 1).alias("repeats")).select("session_id", "event_id", "first.*", "repeats")


def visits(clicks: DataFrame) -> DataFrame:
    """Clicks + visit_no, search_no, gap_ms and is_reformulation.

    visit_no: from 1 within a session; a pause of more than 30 minutes starts a new visit. gap_ms: since the visit's
    click before. search_no: from 1 within a session; another query, or none, and a new visit start a new search.
    is_reformulation: the query is another than the visit's last one.
    """
    order = Window.partitionBy("session_id").orderBy("event_ts", "event_id")
    before = order.rowsBetween(Window.unboundedPreceding, -1)

    def number_of(starts: Column) -> Column:
        until_now = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
        return F.count_if(starts).over(until_now).cast("int")

    pause_ms = F.unix_millis("event_ts") - F.unix_millis(F.lag("event_ts").over(order))
    starts_visit = pause_ms.isNull() | (pause_ms > VISIT_PAUSE_MS)
    same_query = F.col("query").eqNullSafe(F.lag("query").over(order))
    asked = F.when(F.col("query").isNotNull(), F.struct("visit_no", "query"))
    last = F.last(asked, ignorenulls=True).over(before)
    return (
        clicks.withColumn("gap_ms", F.when(~starts_visit, pause_ms))
        .withColumn("_starts_search", F.col("gap_ms").isNull() | ~same_query)
        .withColumn("visit_no", number_of(F.col("gap_ms").isNull()))
        .withColumn("search_no", number_of(F.col("_starts_search")))
        .withColumn("_last", last)
        .withColumn(
            "is_reformulation",
            (F.col("_last.visit_no") == F.col("visit_no")) & (F.col("_last.query") != F.col("query")),
        )
        .drop("_starts_search", "_last")
    )


def searches(clicks: DataFrame) -> DataFrame:
    """One row a search and UTC day of its clicks: its best_rank, its result pages' documents, the clicked ones of them.

    Clicks are those of `visits`. Key (event_date, session_id, search_no); best_rank is null when no place is known.
    """
    return clicks.groupBy("event_date", "session_id", "visit_no", "search_no").agg(
        F.min("click_rank").alias("best_rank"),
        F.array_distinct(F.flatten(F.collect_list("documents"))).alias("documents"),
        F.collect_set(F.when(F.col("click_rank").isNotNull(), F.col("document_id"))).alias("clicked"),
    )


def latest(value: str | Column, name: str) -> Column:
    """Of a group of clicks the latest `value` that is not empty, as a column of this name; null when there is none."""
    text = F.col(value) if isinstance(value, str) else value
    return F.max(F.when(text != "", F.struct("event_ts", "event_id", text.alias("text"))))["text"].alias(name)


def areas(clicks: DataFrame) -> DataFrame:
    """A row a click and clinical_area; a click without any has UNKNOWN_AREA."""
    named = F.when(F.size("clinical_areas") > 0, F.col("clinical_areas")).otherwise(F.array(F.lit(UNKNOWN_AREA)))
    return clicks.withColumn("clinical_area", F.explode(named))
