"""When a session is conspicuous: the rules, each with its measure of a click and its thresholds, defined here only."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.window import WindowSpec

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
STEADY_GAPS: Final = 10
# No rule finds fewer clicks: eight pauses of 30 minutes are the least of four hours.
FEWEST_CLICKS: Final = 9


class Measure(NamedTuple):
    """What a rule sees, back from a click of `visits`: its metric, where that begins, how many clicks it has."""

    metric: "Column"
    start_ms: "Column"
    click_count: "Column"


@dataclass(frozen=True)
class Rule:
    """A rule: the metric reaches a level of `levels`, from low to high; or falls below it.

    A rule with `window_ms` counts clicks of a session (and `key`) in a sliding window of that length, which has its end
    and not its start; the others look at a visit until the click.
    """

    rule_id: str
    meaning: str
    levels: tuple[tuple[str, float], ...]
    measure: "Callable[[], Measure]"
    window_ms: int = 0
    key: tuple[str, ...] = ()
    below: bool = False

    def reached(self, metric: "Column", level: float) -> "Column":
        """Whether the metric is at the level, or below it when that is what the rule looks for."""
        return metric < level if self.below else metric >= level

    def before(self) -> "WindowSpec":
        """The clicks before this one at which the same burst, or the same visit, may have been found already."""
        from pyspark.sql import Window

        if not self.window_ms:
            return _until_now().rowsBetween(Window.unboundedPreceding, -1)
        return _by_time(*self.key).rangeBetween(-self.window_ms + 1, -1)


def _event_ms() -> "Column":
    from pyspark.sql import functions as F

    return F.unix_millis("event_ts")


def _by_time(*key: str) -> "WindowSpec":
    from pyspark.sql import Window

    return Window.partitionBy("session_id", *key).orderBy(_event_ms())


def _until_now() -> "WindowSpec":
    from pyspark.sql import Window

    order = Window.partitionBy("session_id", "visit_no").orderBy("event_ts", "event_id")
    return order.rowsBetween(Window.unboundedPreceding, Window.currentRow)


def _sliding(rule_id: str, meaning: str, window_ms: int, warning: float, critical: float, *key: str) -> Rule:
    """Clicks of the session, and of the same `key`, in the window that ends with this one."""

    def measure() -> Measure:
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        count = F.count("*").over(_by_time(*key).rangeBetween(-window_ms + 1, Window.currentRow))
        return Measure(count, _event_ms() - window_ms, count)

    return Rule(rule_id, meaning, _levels(warning, critical), measure, window_ms, key)


def _levels(warning: float, critical: float) -> tuple[tuple[str, float], ...]:
    return ("WARNING", warning), ("CRITICAL", critical)


def _variation_of_gaps() -> Measure:
    """Coefficient of variation of the last STEADY_GAPS gaps of the visit; null when there are fewer.

    From sums of whole milliseconds, which are exact, so that a gap that is always the same gives 0.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    last = _until_now().rowsBetween(-STEADY_GAPS + 1, Window.currentRow)
    gap = F.col("gap_ms")
    total, squares = F.sum(gap).over(last), F.sum(gap * gap).over(last)
    known = (F.count(gap).over(last) == STEADY_GAPS) & (total > 0)
    variation = F.when(known, F.sqrt(STEADY_GAPS * squares - total * total) / total)
    return Measure(variation, _event_ms() - total, F.lit(STEADY_GAPS + 1))


def _hours_without_pause() -> Measure:
    """Hours from the visit's first click to this one."""
    from pyspark.sql import functions as F

    began = F.min(_event_ms()).over(_until_now())
    return Measure((_event_ms() - began) / HOUR_MS, began, F.count("*").over(_until_now()))


RULES: Final = (
    _sliding("clicks_5m", "clicks in 5 minutes", 5 * MINUTE_MS, 50, 100),
    _sliding("clicks_1m", "clicks in 1 minute", MINUTE_MS, 20, 40),
    Rule(
        "steady_gaps",
        f"coefficient of variation of {STEADY_GAPS} gaps in a row, below",
        _levels(0.10, 0.03),
        _variation_of_gaps,
        below=True,
    ),
    _sliding("same_document_10m", "clicks on one document in 10 minutes", 10 * MINUTE_MS, 10, 30, "document_id"),
    Rule("long_activity", "hours without a pause of more than 30 minutes", _levels(4, 8), _hours_without_pause),
)


def candidates(clicks: "DataFrame") -> "DataFrame":
    """The clicks of sessions that have enough of them for any rule."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    count = F.count("*").over(Window.partitionBy("session_id"))
    return clicks.withColumn("_clicks", count).where(F.col("_clicks") >= FEWEST_CLICKS).drop("_clicks")


def conspicuous() -> "Column":
    """Whether any rule finds at least its lowest level at a click of `visits`; null when no metric is known."""
    return reduce(or_, (rule.reached(rule.measure().metric, rule.levels[0][1]) for rule in RULES))


def findings(clicks: "DataFrame", known_from_ms: int) -> "DataFrame":
    """session_id, rule_id, window_start, window_end, click_count, metric_value, threshold, severity.

    `clicks` are those of `visits`; what may have begun before `known_from_ms`, from which on they are complete, is left
    out. A row each burst (rules with a window) or visit (the others) and level, where it is reached first: rows are
    only ever added, so one that grows is a WARNING and then a CRITICAL. window_end is the click that reached it.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    # All rules in one pass over the clicks, not a pass a rule.
    measured = candidates(clicks).select(
        *("session_id", "visit_no", "document_id", "event_ts", "event_id"),
        F.min(_event_ms()).over(Window.partitionBy("session_id", "visit_no")).alias("visit_start_ms"),
        *(_named(rule) for rule in RULES),
    )
    found = measured.select("session_id", F.array(*(_found(rule, known_from_ms) for rule in RULES)).alias("found"))
    return (
        found.select("session_id", F.explode(F.array_compact("found")).alias("found"))
        .select("session_id", "found.*")
        .distinct()  # clicks of the same millisecond
    )


def _named(rule: Rule) -> "Column":
    from pyspark.sql import functions as F

    metric, start_ms, click_count = rule.measure()
    return F.struct(
        metric.cast("double").alias("metric_value"),
        F.timestamp_millis(start_ms).alias("window_start"),
        click_count.cast("bigint").alias("click_count"),
    ).alias(rule.rule_id)


def _found(rule: Rule, known_from_ms: int) -> "Column":
    """What the rule finds at a click: the highest level that is reached there first; null when nothing."""
    from pyspark.sql import functions as F

    from jobs.spark.clicks import VISIT_PAUSE_MS

    metric = F.col(f"{rule.rule_id}.metric_value")
    if rule.window_ms:
        known = _event_ms() > known_from_ms + 2 * rule.window_ms
    else:
        known = F.col("visit_start_ms") > known_from_ms + VISIT_PAUSE_MS

    def begins(level: float) -> "Column":
        reached = rule.reached(metric, level)
        return known & reached & F.coalesce(~F.max(reached).over(rule.before()), F.lit(True))

    def row(severity: str, level: float) -> "Column":
        return F.struct(
            F.lit(rule.rule_id).alias("rule_id"),
            F.col(f"{rule.rule_id}.window_start").alias("window_start"),
            F.col("event_ts").alias("window_end"),
            F.col(f"{rule.rule_id}.click_count").alias("click_count"),
            metric.alias("metric_value"),
            F.lit(float(level)).alias("threshold"),
            F.lit(severity).alias("severity"),
        )

    return F.coalesce(*(F.when(begins(level), row(severity, level)) for severity, level in reversed(rule.levels)))
