"""The producer's command line: what it refuses, and when."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from jobs.errors import JobError
from jobs.producer import __main__ as producer
from tests.unit.jobs.producer.recorder import DAY, at, line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ingestion-path=missing"], "no folder missing: --ingestion-path"),
        (["--ingestion-path=."], "no log of 2020-10-01 in"),
        (["--last-date=2020-09-30"], "--last-date 2020-09-30 is before --first-date 2020-10-01"),
        (["--ingestion-path=logs", "--shift-weeks=2000"], "more than 31 days ahead"),
    ],
)
def test_what_is_wrong_with_the_log_is_reported_before_kafka_is_asked(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{DAY}.json").write_bytes(line(at(1)))
    base = ["batch", "--kafka-brokers=127.0.0.1:1", "--ingestion-path=x", f"--first-date={DAY}", f"--last-date={DAY}"]
    with pytest.raises(JobError, match=message):
        producer.run(producer.parser().parse_args([*base, *options]))


def test_a_replay_with_a_day_missing_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json").write_bytes(line(at(1)))
    options = ["realtime", "--kafka-brokers=127.0.0.1:1", f"--ingestion-path={tmp_path}"]
    with pytest.raises(JobError, match="no log of 2020-10-02 to 2020-10-03 in"):
        producer.run(producer.parser().parse_args([*options, f"--first-date={DAY}", "--last-date=2020-10-03"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--shift-weeks=2000"], "more than 31 days ahead"), (["--shift-weeks=4", "--speed=60"], "ahead|or later")],
)
def test_a_replay_with_a_shift_ahead_is_refused_at_once(options: list[str], message: str, tmp_path: Path) -> None:
    today = dt.datetime.now(dt.UTC).date()
    (tmp_path / f"{today}.json").write_bytes(line(at(1)))
    given = ["realtime", "--kafka-brokers=127.0.0.1:1", f"--ingestion-path={tmp_path}"]
    with pytest.raises(JobError, match=message):
        producer.run(producer.parser().parse_args([*given, f"--first-date={today}", f"--last-date={today}", *options]))


def test_options_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--kafka-brokers=k:1", "--ingestion-path=/x", "--last-date=2020-10-01"]
    for words, message in (
        (["batch", "--first-date=01.10.2020"], "'01.10.2020' is not a valid day: write it as 2020-10-31"),
        (["realtime", "--first-date=2020-10-01", "--speed=0"], "'0' is not a number above 0"),
        (["realtime", "--first-date=2020-10-01", "--run-minutes=nan"], "'nan' is not a number above 0"),
        (["batch", "--first-date=2020-10-01", "--replication=0"], "'0' is not a whole number above 0"),
    ):
        with pytest.raises(SystemExit):
            producer.parser().parse_args([words[0], *base, *words[1:]])
        assert message in capsys.readouterr().err
