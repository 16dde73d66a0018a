"""Records of Kafka → valid clicks and quarantined records. Pure functions; native Spark SQL functions only.

A record is a row (topic, partition, offset, kafka_ts, key, value, headers). `check` decides on each; `clicks` and
`quarantine` then part them: every record is in exactly one of the two.
"""

from typing import Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from jobs.event import CONTRACT_VERSION, MAX_EVENT_AHEAD, MAX_SOURCE_AHEAD, MIN_SOURCE_TS, SHIFT_HEADER
from jobs.spark import text
from jobs.spark.tables import CLICKS_COLUMNS, QUARANTINE_COLUMNS

MAX_DOCUMENTS: Final = 20  # a result page; a longer list is not one
MAX_SESSION_ID: Final = 100  # characters; 24 are usual, and a key of PostgreSQL must stay short

# Behind the line in one array: a parser that stops after the first value would never reach it.
_END: Final = "\u00a7end"
_DATE: Final = r"^/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/$"  # 15 digits of ms fit a timestamp of µs
_SHIFT: Final = r"^-?[0-9]{1,14}$"


def check(records: DataFrame) -> DataFrame:
    """Records + shift_ms, reason (null: valid) and the struct `click` of checked fields."""
    line = F.col("value").cast("string")
    return (
        records.withColumn("shift_ms", _shift_ms())
        .withColumn("_json", _parse(line))
        .withColumn("click", _fields(F.col("_json")))
        .withColumn("reason", _reason(line))
        .drop("_json")
    )


def clicks(checked: DataFrame) -> DataFrame:
    """The valid ones of `check`, as rows of the table clicks."""
    rank = F.array_position("click.documents", F.col("click.document_id"))
    valid = checked.where(F.col("reason").isNull())
    return (
        valid.select("*", "click.*")
        .withColumn("event_id", _event_id())
        .withColumn("source_ts", F.timestamp_millis(F.col("source_ms")))
        .withColumn("event_ts", F.timestamp_millis(F.col("source_ms") + F.col("shift_ms")))
        .withColumn("event_date", F.to_date("event_ts"))
        .withColumn("click_rank", F.nullif(rank, F.lit(0)).cast("int"))
        .select(*CLICKS_COLUMNS)
    )


def invalid(checked: DataFrame) -> DataFrame:
    """The rows of `check` that are no valid click."""
    return checked.where(F.col("reason").isNotNull())


def quarantine(checked: DataFrame) -> DataFrame:
    """The others, as rows of the table quarantine: raw bytes, place in Kafka, reason."""
    return (
        invalid(checked)
        .withColumn("contract_version", F.lit(CONTRACT_VERSION))
        .withColumn("quarantined_ts", F.current_timestamp())
        .select(*QUARANTINE_COLUMNS)
    )


def summary(checked: DataFrame) -> list[Row]:
    """A row a reason (null: valid): reason, records, newest_s (epoch seconds of Kafka), first (partition, offset)."""
    return (
        checked.groupBy("reason")
        .agg(
            F.count("*").alias("records"),
            (F.unix_millis(F.max("kafka_ts")) / 1000).alias("newest_s"),
            F.min(F.struct("partition", "offset")).alias("first"),
        )
        .orderBy("reason")
        .collect()
    )


def _shift_ms() -> Column:
    """Milliseconds of the header; 0 without one (a producer that shifts nothing), null when it is not a number."""
    named = F.filter(F.col("headers"), lambda header: header["key"] == SHIFT_HEADER)
    shift = F.get(named, F.lit(0))["value"].cast("string")
    absent = F.coalesce(F.size(named), F.lit(0)) <= 0
    return F.when(absent, F.lit(0)).when(shift.rlike(_SHIFT), shift.try_cast("bigint")).cast("bigint")


def _parse(line: Column) -> Column:
    """The one JSON value of a line as a variant; null when the line is not exactly one."""
    both = F.try_parse_json(F.concat(F.lit("["), text.parseable_json(line), F.lit(f',"{_END}"]')))
    alone = F.try_variant_get(both, "$[1]", "string") == _END
    return F.when(F.is_valid_utf8(line) & alone, F.try_variant_get(both, "$[0]", "variant"))


def _fields(json: Column) -> Column:
    """The fields, each null when it is absent or of another JSON type than the contract's."""

    def field(key: str, json_type: str, spark_type: str) -> Column:
        value = F.try_variant_get(json, f"$.{key}", "variant")
        return F.when(F.schema_of_variant(value) == json_type, F.try_variant_get(json, f"$.{key}", spark_type))

    def string(key: str) -> Column:
        return field(key, "STRING", "string")

    documents = field("Documents", "ARRAY<BIGINT>", "array<bigint>")
    is_page = (F.size(documents) <= MAX_DOCUMENTS) & ~F.exists(documents, F.isnull)
    return F.struct(
        text.clean(string("SessionId")).alias("session_id"),
        field("DocumentId", "BIGINT", "bigint").alias("document_id"),
        F.regexp_extract(string("DateCreated"), _DATE, 1).try_cast("bigint").alias("source_ms"),
        text.clean(string("Title")).alias("title"),
        text.clean(string("Url")).alias("url"),
        text.clean(string("DOI")).alias("doi"),
        text.clinical_areas(string("ClinicalAreas")).alias("clinical_areas"),
        text.query(string("Keywords")).alias("query"),
        F.when(is_page, documents).otherwise(F.array().cast("array<bigint>")).alias("documents"),
    )


def _reason(line: Column) -> Column:
    """The first thing that is wrong with a record; null when nothing is."""
    click, json = F.col("click"), F.col("_json")
    session_id, document_id, source_ms = click["session_id"], click["document_id"], click["source_ms"]
    event_ms, kafka_ms = source_ms + F.col("shift_ms"), F.unix_millis("kafka_ts")
    first_ms = int(MIN_SOURCE_TS.timestamp() * 1000)
    source_ahead, event_ahead = (int(ahead.total_seconds() * 1000) for ahead in (MAX_SOURCE_AHEAD, MAX_EVENT_AHEAD))
    return (
        F.when(line.isNull() | ~line.rlike(r"\S"), "empty")
        .when(~F.is_valid_utf8(line), "not_utf8")
        .when(json.isNull(), "not_json")
        .when(~F.schema_of_variant(json).startswith("OBJECT<"), "not_an_object")
        .when(session_id.isNull(), "no_session_id")
        .when(F.length(session_id) > MAX_SESSION_ID, "bad_session_id")
        .when(document_id.isNull() | (document_id <= 0), "bad_document_id")
        .when(source_ms.isNull() | (source_ms < first_ms), "bad_date")
        .when(source_ms > kafka_ms + source_ahead, "future_date")
        .when(F.col("shift_ms").isNull() | (event_ms < first_ms), "bad_shift")
        .when(event_ms > kafka_ms + event_ahead, "future_date")
    )


def _event_id() -> Column:
    """As jobs.event.event_id."""
    return F.sha2(F.concat(F.col("value"), F.encode(F.concat(F.lit("|"), F.col("shift_ms")), "UTF-8")), 256)
