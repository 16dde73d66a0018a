"""When a session is conspicuous: the rules, each with its metric of a click and its thresholds, defined here only."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyspark.sql import Column

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
STEADY_GAPS: Final = 10
# No rule finds fewer clicks: eight pauses of 30 minutes are the least of four hours.
FEWEST_CLICKS: Final = 9


@dataclass(frozen=True)
class Rule:
    """A rule: `metric` of a click of `visits` looks back from it, and reaches a level of `levels`, from low to high.

    A rule with `window_ms` counts clicks in a sliding window of that length, which has its end and not its start.
    """

    rule_id: str
    meaning: str
    levels: tuple[tuple[str, float], ...]
    metric: "Callable[[], Column]"
    window_ms: int = 0
    below: bool = False

    def reached(self, level: float) -> "Column":
        """Whether the click's metric is at the level, or below it when that is what the rule looks for."""
        return self.metric() < level if self.below else self.metric() >= level


def _levels(warning: float, critical: float) -> tuple[tuple[str, float], ...]:
    return ("WARNING", warning), ("CRITICAL", critical)


def _clicks_within(window_ms: int, *key: str) -> "Column":
    """Clicks of the session, and of the same `key`, in the window that ends with this one."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    window = Window.partitionBy("session_id", *key).orderBy(F.unix_millis("event_ts"))
    return F.count("*").over(window.rangeBetween(-window_ms + 1, Window.currentRow))


def _variation_of_gaps() -> "Column":
    """Coefficient of variation of the last STEADY_GAPS gaps of the visit; null when there are fewer.

    From sums of whole milliseconds, which are exact, so that a gap that is always the same gives 0.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = Window.partitionBy("session_id", "visit_no").orderBy("event_ts", "event_id")
    last = order.rowsBetween(-STEADY_GAPS + 1, Window.currentRow)
    gap = F.col("gap_ms")
    total, squares = F.sum(gap).over(last), F.sum(gap * gap).over(last)
    known = (F.count(gap).over(last) == STEADY_GAPS) & (total > 0)
    return F.when(known, F.sqrt(STEADY_GAPS * squares - total * total) / total)


def _hours_without_pause() -> "Column":
    """Hours from the visit's first click to this one."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    until_now = Window.partitionBy("session_id", "visit_no").orderBy("event_ts", "event_id")
    began = F.min(F.unix_millis("event_ts")).over(until_now.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    return (F.unix_millis("event_ts") - began) / HOUR_MS


CLICKS_5M: Final = Rule(
    "clicks_5m",
    "clicks in 5 minutes",
    _levels(50, 100),
    lambda: _clicks_within(5 * MINUTE_MS),
    window_ms=5 * MINUTE_MS,
)
RULES: Final = (
    CLICKS_5M,
    Rule("clicks_1m", "clicks in 1 minute", _levels(20, 40), lambda: _clicks_within(MINUTE_MS), window_ms=MINUTE_MS),
    Rule(
        "steady_gaps",
        f"coefficient of variation of {STEADY_GAPS} gaps in a row, below",
        _levels(0.10, 0.03),
        _variation_of_gaps,
        below=True,
    ),
    Rule(
        "same_document_10m",
        "clicks on one document in 10 minutes",
        _levels(10, 30),
        lambda: _clicks_within(10 * MINUTE_MS, "document_id"),
        window_ms=10 * MINUTE_MS,
    ),
    Rule("long_activity", "hours without a pause of more than 30 minutes", _levels(4, 8), _hours_without_pause),
)


def conspicuous() -> "Column":
    """Whether any rule finds at least its lowest level at a click of `visits`; null when no metric is known."""
    return reduce(or_, (rule.reached(rule.levels[0][1]) for rule in RULES))
