"""When a session is anomalous: the rules, each with its metric at a click and its levels, defined here only, as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jobs.spark.visits import VISIT_PAUSE_MS

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
STEADY_GAPS: Final = 10
# No rule fires with fewer clicks: four hours have at least eight pauses of 30 minutes.
FEWEST_CLICKS: Final = 9


@dataclass(frozen=True)
class Rule:
    """A rule: its metric reaches a level of `levels`, from low to high; or falls below it.

    A rule with `window_ms` counts clicks of a session (and `key`) in a sliding window of that length, which has its end
    but not its start; the others cover a visit until the click. `metric`, `start_ms` (where what it covers begins)
    and `click_count` (how many clicks that has) are SQL over a click of `timed`.
    """

    rule_id: str
    meaning: str
    levels: tuple[tuple[str, float], ...]
    metric: str
    start_ms: str
    click_count: str
    window_ms: int = 0
    key: tuple[str, ...] = ()
    below: bool = False

    def reached(self, level: float) -> str:
        """Whether the metric has reached the level, or is below it if `below`."""
        return f"{self.metric} {'<' if self.below else '>='} {level}"

    @property
    def warns(self) -> str:
        """Whether it has reached its lowest level."""
        return self.reached(self.levels[0][1])

    def window(self, start: str, end: str) -> str:
        """Clicks of the same session (and key) from `start` to `end` of a sliding window, or of the same visit."""
        by = ", ".join(("session_id", *self.key))
        return f"PARTITION BY {by} ORDER BY ms RANGE BETWEEN {start} AND {end}"

    @property
    def before(self) -> str:
        """The clicks before this one at which the same burst, or the same visit, may have been found already."""
        if self.window_ms:
            return self.window(f"{self.window_ms - 1} PRECEDING", "1 PRECEDING")
        order = "PARTITION BY session_id, visit_no ORDER BY event_ts, event_id"
        return f"{order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"

    @property
    def known_from_ms(self) -> str:
        """From when on the clicks must be complete for its findings to be right."""
        return f"ms - {2 * self.window_ms}" if self.window_ms else f"visit_start_ms - {VISIT_PAUSE_MS}"


def _levels(warning: float, critical: float) -> tuple[tuple[str, float], ...]:
    return ("WARNING", warning), ("CRITICAL", critical)


def _sliding(rule_id: str, meaning: str, window_ms: int, warning: float, critical: float, *key: str) -> Rule:
    """Clicks of the session, and of the same `key`, in the window that ends with this one."""
    levels = _levels(warning, critical)
    return Rule(rule_id, meaning, levels, rule_id, f"ms - {window_ms}", rule_id, window_ms, key)


RULES: Final = (
    _sliding("clicks_5m", "clicks in 5 minutes", 5 * MINUTE_MS, 50, 100),
    _sliding("clicks_1m", "clicks in 1 minute", MINUTE_MS, 20, 40),
    Rule(
        "steady_gaps",
        f"coefficient of variation of {STEADY_GAPS} gaps in a row, below",
        _levels(0.10, 0.03),
        # From sums of whole milliseconds, which are exact, so that constant gaps give 0.
        metric=f"CASE WHEN gaps = {STEADY_GAPS} AND gaps_ms > 0 "
        f"THEN sqrt(({STEADY_GAPS} * gaps_squared - gaps_ms * gaps_ms)::double) / gaps_ms END",
        start_ms="ms - gaps_ms",
        click_count=str(STEADY_GAPS + 1),
        below=True,
    ),
    _sliding("same_document_10m", "clicks on one document in 10 minutes", 10 * MINUTE_MS, 10, 30, "document_id"),
    Rule(
        "long_activity",
        "hours without a pause of more than 30 minutes",
        _levels(4, 8),
        metric=f"(ms - visit_start_ms) / {HOUR_MS}",
        start_ms="visit_start_ms",
        click_count="visit_clicks",
    ),
)
_SLIDING: Final = [rule for rule in RULES if rule.window_ms]
_COUNTS: Final = "".join(f"    count(*) OVER {rule.rule_id} AS {rule.rule_id},\n" for rule in _SLIDING)
_WINDOWS: Final = ",\n    ".join(
    f"{rule.rule_id} AS ({rule.window(f'{rule.window_ms - 1} PRECEDING', 'CURRENT ROW')})" for rule in _SLIDING
)

# The clicks of `visits` in sessions with enough clicks for any rule, with the inputs of the rules' metrics.
TIMED: Final = f"""
SELECT session_id, visit_no, event_id, event_ts, document_id, ms,
{_COUNTS}    count(gap_ms) OVER steady AS gaps,
    sum(gap_ms) OVER steady AS gaps_ms,
    sum(gap_ms * gap_ms) OVER steady AS gaps_squared,
    count(*) OVER visit AS visit_clicks,
    min(ms) OVER visit AS visit_start_ms
FROM visits
WHERE session_clicks >= {FEWEST_CLICKS}
WINDOW
    {_WINDOWS},
    visit AS (PARTITION BY session_id, visit_no ORDER BY event_ts, event_id ROWS UNBOUNDED PRECEDING),
    steady AS (
        PARTITION BY session_id, visit_no ORDER BY event_ts, event_id
        ROWS BETWEEN {STEADY_GAPS - 1} PRECEDING AND CURRENT ROW
    )
"""

# session_id, visit_no of the visits in which any rule finds at least its lowest level.
ANOMALOUS: Final = f"""
SELECT DISTINCT session_id, visit_no FROM timed
WHERE {" OR ".join(f"({rule.warns})" for rule in RULES)}
"""


def found(known_from_ms: int) -> str:
    """session_id, rule_id, window_start, window_end, click_count, metric_value, threshold, severity, as SQL of `timed`.

    What may have begun before `known_from_ms`, from which on the clicks are complete, is omitted. One row per burst
    (rules with a window) or visit (the others) and level, where it is reached first: rows are only ever added, so one
    that grows is a WARNING and then a CRITICAL. window_end is the click that reached it.
    """
    # Distinct: clicks of the same millisecond.
    return "\nUNION\n".join(_found(rule, known_from_ms) for rule in RULES)


def _found(rule: Rule, known_from_ms: int) -> str:
    def first(level: float) -> str:
        reached = rule.reached(level)
        return f"({reached}) AND coalesce(count_if({reached}) OVER ({rule.before}), 0) = 0"

    levels = [(severity, level, first(level)) for severity, level in reversed(rule.levels)]
    severity = " ".join(f"WHEN {first} THEN '{severity}'" for severity, _, first in levels)
    threshold = " ".join(f"WHEN severity = '{severity}' THEN {level}" for severity, level, _ in levels)
    return f"""
SELECT session_id, '{rule.rule_id}' AS rule_id, ({rule.start_ms}) * 1000 AS window_start, event_ts AS window_end,
    {rule.click_count} AS click_count, ({rule.metric})::double AS metric_value,
    (CASE {threshold} END)::double AS threshold, severity
FROM (SELECT *, CASE {severity} END AS severity FROM timed WHERE {rule.warns})
WHERE severity IS NOT NULL AND {rule.known_from_ms} > {known_from_ms}
"""
