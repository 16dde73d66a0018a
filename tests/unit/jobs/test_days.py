"""Days and the spans of them."""

from __future__ import annotations

import datetime as dt

from jobs.days import gaps, spans_of, spans_text

DAY = dt.date(2020, 10, 1)
NEXT = DAY + dt.timedelta(days=1)


def test_every_day_is_in_a_gap_or_in_a_span() -> None:
    days = [DAY + dt.timedelta(days=number) for number in (0, 1, 4, 9)]
    assert spans_text(spans_of(days)) == "2020-10-01 to 2020-10-02, 2020-10-05, 2020-10-10"
    assert spans_text(gaps(days, days[0], days[-1])) == "2020-10-03 to 2020-10-04, 2020-10-06 to 2020-10-09"
    assert gaps(days, days[1], days[1]) == []
    assert gaps([], DAY, NEXT) == [(DAY, NEXT)]
