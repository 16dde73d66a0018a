"""The four cold tables as pure functions of the curated stream. Each metric is defined here and nowhere else.

What each column means stands in columns_cold.py. A row is made of few clicks, so that the rows which new clicks change
can be made anew without the others: a visit of its session's clicks, a row of a day of that day's clicks and of the
visits that began on it. Sums are exact, whatever the order of the rows: both ways give the same bytes.
"""

from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.spark.clicks import RECORD, areas, latest, once, searches, visits
from jobs.spark.columns import Table
from jobs.spark.columns_cold import CLINICAL_AREAS, DAILY_TRAFFIC, POPULAR_DOCUMENTS
from jobs.spark.spark_anomaly_rules import candidates, conspicuous

LATE_MS: Final = 10 * 60 * 1000  # sooner than that is out of order
# The columns that compare a count with the one of so many days before.
CHANGES: Final[dict[str, dict[str, tuple[str, int]]]] = {
    DAILY_TRAFFIC.name: {"dod_pct": ("total_events", 1), "wow_pct": ("total_events", 7)},
    CLINICAL_AREAS.name: {"wow_pct": ("search_count", 7)},
    POPULAR_DOCUMENTS.name: {"wow_pct": ("view_count", 7)},
}
_VISIT: Final = ["session_id", "visit_no"]
_HOST: Final = r"^\w[\w+.-]*://(?:[^/?#]*@)?([^/?#:]+)"


def prepared(curated: DataFrame) -> DataFrame:
    """The clicks of the curated stream, each once, with visit and search: what the four tables are computed from."""
    return visits(once(curated))


def of_days(clicks: DataFrame, visits: DataFrame, quarantined: DataFrame) -> dict[Table, DataFrame]:
    """The rows of the three tables by day, without CHANGES.

    `clicks` are those of `prepared`, `visits` has the rows of session_analysis, `quarantined` is what the function of
    this name returns; all of the same days.
    """
    return {
        DAILY_TRAFFIC: daily_traffic(clicks, visits, quarantined),
        CLINICAL_AREAS: clinical_areas(clicks),
        POPULAR_DOCUMENTS: popular_documents(clicks),
    }


def compared(table: Table, rows: DataFrame) -> DataFrame:
    """A table by day: `rows` and its CHANGES, in percent; null when there is no row of the day to compare with."""
    key = [name for name in table.key if name != "event_date"]
    by_day = Window.partitionBy(*key).orderBy(F.unix_date("event_date"))
    for name, (count, days) in CHANGES[table.name].items():
        before = F.max(count).over(by_day.rangeBetween(-days, -days))
        rows = rows.withColumn(name, (F.col(count) - before) * F.lit(100.0) / before)
    return table.of(rows)


def session_analysis(clicks: DataFrame) -> DataFrame:
    """One row a visit, key (session_id, visit_no)."""
    all_areas = F.flatten(F.collect_list("clinical_areas"))
    first, last = F.min("event_ts"), F.max("event_ts")
    figures = clicks.groupBy(*_VISIT).agg(
        F.count("*").alias("click_count"),
        (F.count("*") == 1).alias("is_bounce"),
        first.alias("first_click_ts"),
        last.alias("last_click_ts"),
        ((F.unix_millis(last) - F.unix_millis(first)) / 1000).alias("session_duration_sec"),
        _few_distinct("document_id").alias("unique_docs"),
        _few_distinct("query").alias("query_count"),
        _few_distinct("search_no").alias("search_count"),
        F.count_if("is_reformulation").alias("reformulation_count"),
        F.avg("click_rank").alias("avg_click_rank"),
        (F.median("gap_ms") / 1000).alias("median_gap_sec"),
        F.size(F.array_distinct(all_areas)).alias("distinct_areas"),
        _most_frequent(all_areas).alias("top_area"),
    )
    return (
        figures.join(_reciprocal_ranks(clicks), on=_VISIT, how="inner")
        .join(_anomalous(clicks), on=_VISIT, how="left")
        .withColumn("event_date", F.to_date("first_click_ts"))
        .withColumn("is_anomalous", F.coalesce("is_anomalous", F.lit(False)))
    )


def daily_traffic(clicks: DataFrame, visits: DataFrame, quarantined: DataFrame) -> DataFrame:
    """One row a UTC day, key event_date."""
    hours = clicks.groupBy("event_date", F.hour("event_ts").alias("hour")).agg(F.count("*").alias("clicks"))
    peak_hour = F.max_by("hour", F.struct("clicks", -F.col("hour")))  # of several with the most clicks the earliest
    days = clicks.groupBy("event_date").agg(
        F.count("*").alias("total_events"),
        F.countDistinct("session_id").alias("unique_sessions"),
        F.countDistinct("document_id").alias("unique_documents"),
        F.countDistinct("query").alias("unique_queries"),
        (F.count("*") / F.countDistinct("session_id")).alias("clicks_per_session"),
        (F.count("click_rank") / F.count("*")).alias("rank_coverage"),
        (F.count_if(F.col("query").isNull()) / F.count("*")).alias("no_query_share"),
        F.sum("repeats").alias("duplicate_count"),
    )
    parts = (
        hours.groupBy("event_date").agg(peak_hour.alias("peak_hour")),
        _days_of_visits(visits),
        _days_of_searches(clicks),
        _late(clicks),
        quarantined,
    )
    for part in parts:
        days = days.join(part, on="event_date", how="left")
    return days.fillna(0, ["quarantined_count"])


def clinical_areas(clicks: DataFrame) -> DataFrame:
    """One row a UTC day and clinical area, key (event_date, clinical_area)."""
    days = clicks.groupBy("event_date").agg(F.count("*").alias("clicks"))
    order = Window.partitionBy("event_date").orderBy(F.desc("search_count"), F.desc("unique_sessions"), "clinical_area")
    return (
        areas(clicks)
        .groupBy("event_date", "clinical_area")
        .agg(
            F.count("*").alias("search_count"),
            F.countDistinct("session_id").alias("unique_sessions"),
            F.sum(_exact(1 / F.greatest(F.size("clinical_areas"), F.lit(1)))).cast("double").alias("weighted_clicks"),
            F.countDistinct("document_id").alias("unique_documents"),
        )
        .join(days, on="event_date", how="inner")
        .withColumn("click_share", F.col("search_count") / F.col("clicks"))
        .withColumn("rank_in_day", F.row_number().over(order))
    )


def popular_documents(clicks: DataFrame) -> DataFrame:
    """One row a UTC day and document, key (event_date, document_id)."""
    order = Window.partitionBy("event_date").orderBy(F.desc("unique_sessions"), F.desc("view_count"), "document_id")
    clicked = (
        clicks.repartition("event_date")
        .groupBy("event_date", "document_id")
        .agg(
            latest("title", "title"),
            latest("doi", "doi"),
            latest(F.regexp_extract(F.lower("url"), _HOST, 1), "url_host"),
            F.count("*").alias("view_count"),
            F.countDistinct("session_id").alias("unique_sessions"),
            F.avg("click_rank").alias("avg_click_rank"),
        )
    )
    # The documents that were shown are twenty times as many: they pass by those that were clicked.
    return (
        clicked.hint("shuffle_hash")
        .join(_impressions(clicks), on=["event_date", "document_id"], how="left")
        .withColumn("rank_in_day", F.row_number().over(order))
    )


def quarantined(curated: DataFrame, quarantine: DataFrame) -> DataFrame:
    """event_date, quarantined_count: of the records in quarantine, by the click right before them in Kafka."""
    before = before_them(quarantine).groupBy(*RECORD).agg(F.count("*").alias("records"))
    days = curated.join(F.broadcast(before), on=list(RECORD), how="inner").groupBy("event_date")
    return days.agg(F.sum("records").alias("quarantined_count"))


def before_them(quarantine: DataFrame) -> DataFrame:
    """`quarantine` with the place, as RECORD, of the record before the run of quarantined ones that each stands in."""
    place = Window.partitionBy("topic", "partition").orderBy("offset")
    run = F.col("offset") - F.dense_rank().over(place)
    first = F.min("offset").over(Window.partitionBy("topic", "partition", "_run"))
    return quarantine.withColumn("_run", run).withColumn("offset", first - 1).drop("_run")


def _reciprocal_ranks(clicks: DataFrame) -> DataFrame:
    """session_id, visit_no, mrr."""
    best = clicks.groupBy(*_VISIT, "search_no").agg(F.min("click_rank").alias("best_rank"))
    return best.groupBy(*_VISIT).agg(_mean(1 / F.col("best_rank")).alias("mrr"))


def _anomalous(clicks: DataFrame) -> DataFrame:
    """session_id, visit_no, is_anomalous of the visits that a rule finds."""
    found = candidates(clicks).withColumn("is_anomalous", conspicuous()).where("is_anomalous")
    return found.select(*_VISIT, "is_anomalous").distinct()


def _days_of_visits(visits: DataFrame) -> DataFrame:
    """event_date, bounce_rate, median_duration_sec, p95_duration_sec of the visits that began on that day."""
    duration = F.when(~F.col("is_bounce"), F.col("session_duration_sec"))
    return visits.groupBy("event_date").agg(
        (F.count_if("is_bounce") / F.count("*")).alias("bounce_rate"),
        F.median(duration).alias("median_duration_sec"),
        F.percentile(duration, F.lit(0.95)).alias("p95_duration_sec"),
    )


def _days_of_searches(clicks: DataFrame) -> DataFrame:
    """event_date, ctr_at_1, mean_reciprocal_rank of the searches with a click of known place on that day."""
    best = clicks.groupBy("event_date", "session_id", "search_no").agg(F.min("click_rank").alias("best_rank"))
    known = best.where(F.col("best_rank").isNotNull())
    return known.groupBy("event_date").agg(
        (F.count_if(F.col("best_rank") == 1) / F.count("*")).alias("ctr_at_1"),
        _mean(1 / F.col("best_rank")).alias("mean_reciprocal_rank"),
    )


def _impressions(clicks: DataFrame) -> DataFrame:
    """event_date, document_id, impressions, ctr: by day and document that was shown, clicked or not."""
    shown = (
        searches(clicks)
        .repartition("event_date")
        .select("event_date", "clicked", F.explode("documents").alias("document_id"))
    )
    return (
        shown.groupBy("event_date", "document_id")
        .agg(
            F.count("*").alias("impressions"),
            F.count_if(F.array_contains("clicked", F.col("document_id"))).alias("_clicked"),
        )
        .withColumn("ctr", F.col("_clicked") / F.col("impressions"))
    )


def _late(clicks: DataFrame) -> DataFrame:
    """event_date, late_count: by the order in which the records of a day of a replay came."""
    click_ms = F.unix_millis("event_ts")
    replay = Window.partitionBy("event_date", "topic", "partition", click_ms - F.unix_millis("source_ts"))
    before = replay.orderBy("offset").rowsBetween(Window.unboundedPreceding, -1)
    behind_ms = F.max(click_ms).over(before) - click_ms
    came = clicks.select("event_date", (behind_ms > LATE_MS).alias("is_late"))
    return came.groupBy("event_date").agg(F.count_if("is_late").alias("late_count"))


def _exact(number: Column) -> Column:
    """A number up to 1 whose sum is the same in whatever order it is made; a sum of doubles is not."""
    return number.cast("decimal(20,18)")


def _mean(number: Column) -> Column:
    """The mean of numbers up to 1, the same in whatever order they come."""
    return F.avg(_exact(number)).cast("double")


def _few_distinct(name: str) -> Column:
    """How many distinct values a small group has: in one pass, where countDistinct writes each row several times."""
    return F.size(F.collect_set(name))


def _most_frequent(names: Column) -> Column:
    """The most frequent of an array's values, of several the first; null of an empty array."""

    def place(name: Column) -> Column:
        count = F.size(F.filter(names, lambda other: other == name))
        return F.struct((-count).alias("count"), name.alias("name"))

    return F.array_min(F.transform(F.array_distinct(names), place))["name"]
