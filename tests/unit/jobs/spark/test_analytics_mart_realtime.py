"""The options of the realtime job."""

from __future__ import annotations

import pytest

from jobs.spark.analytics_mart_realtime import parser

pytestmark = pytest.mark.usefixtures("unreachable_postgresql")


@pytest.mark.parametrize("minutes", ["0", "-1", "5.1", "nan", "x"])
def test_micro_batches_every_five_minutes_at_most(minutes: str) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--curated-path", "c", "--checkpoint-path", "p", "--interval-minutes", minutes])


def test_options_have_these_defaults() -> None:
    options = parser().parse_args(["--curated-path", "c", "--checkpoint-path", "p", "--until-caught-up", "True"])
    assert (options.interval_minutes, options.run_minutes, options.until_caught_up) == (5.0, 60.0, True)
