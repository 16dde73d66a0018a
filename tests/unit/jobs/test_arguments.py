"""The types of the jobs' options."""

from __future__ import annotations

import argparse
import datetime as dt
import re

import pytest

from jobs.arguments import (
    day,
    day_or_none,
    integer_or_none,
    moment,
    moment_or_none,
    positive_float,
    positive_int,
    share,
    true_or_false,
)


def test_types_take_what_they_should() -> None:
    assert day("2020-02-29") == dt.date(2020, 2, 29)
    assert (day_or_none("2020-02-29"), day_or_none("")) == (dt.date(2020, 2, 29), None)
    assert moment("2020-02-29") == dt.datetime(2020, 2, 29, tzinfo=dt.UTC)
    assert moment("2020-02-29T08:05") == dt.datetime(2020, 2, 29, 8, 5, tzinfo=dt.UTC)
    assert moment("2020-02-29T08:05:09") == dt.datetime(2020, 2, 29, 8, 5, 9, tzinfo=dt.UTC)
    assert (moment_or_none("2020-02-29"), moment_or_none("")) == (moment("2020-02-29"), None)
    assert (integer_or_none("-7"), integer_or_none("")) == (-7, None)
    assert positive_int("7") == 7
    assert positive_float("0.5") == 0.5
    assert [share(text) for text in ("0", "0.05", "1")] == [0, 0.05, 1]
    assert (true_or_false("True"), true_or_false("false")) == (True, False)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (day, "2020-02-30", "'2020-02-30' is not a valid day: write it as 2020-10-31"),
        (day, "", "'' is not a valid day"),
        (moment, "8:00", "'8:00' is not a moment, write it as 2020-10-31 or 2020-10-31T08:00"),
        (integer_or_none, "1.5", "'1.5' is not a whole number"),
        (positive_int, "0", "'0' is not a whole number above 0"),
        (positive_int, "-1", "'-1' is not a whole number above 0"),
        (positive_int, "1.5", "'1.5' is not a whole number above 0"),
        (positive_float, "0", "'0' is not a number above 0"),
        (positive_float, "inf", "'inf' is not a number above 0"),
        (positive_float, "x", "'x' is not a number above 0"),
        (share, "-0.1", "'-0.1' is not a number from 0 to 1"),
        (share, "5", "'5' is not a number from 0 to 1"),
        (share, "nan", "'nan' is not a number from 0 to 1"),
        (share, "5%", "'5%' is not a number from 0 to 1"),
        (true_or_false, "yes", "'yes' is neither true nor false"),
    ],
)
def test_types_refuse_the_rest(kind: object, text: str, message: str) -> None:
    assert callable(kind)
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(message)):
        kind(text)
