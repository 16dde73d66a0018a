"""The producer without a broker: which lines of which files it sends, and when."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import JobError
from jobs.event import PARTITIONS, event_id
from jobs.producer import __main__ as producer
from jobs.producer.log_files import files_of, lines_of, record_of, source_ms
from jobs.producer.replay import WEEK_MS, send_batch, send_realtime, weeks_to_today

DAY = dt.date(2020, 10, 1)
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def line(moment: dt.datetime, session: str = "s" * 24) -> bytes:
    """A log line of that moment."""
    return json.dumps({"DateCreated": f"/Date({int(moment.timestamp() * 1000)})/", "SessionId": session}).encode()


def at(hour: int, minute: int = 0, day: dt.date = DAY) -> dt.datetime:
    """A moment of the day."""
    return dt.datetime.combine(day, dt.time(hour, minute), dt.UTC)


class Recorder:
    """Stands for Kafka: notes each line, its shift and the clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self.lines: list[tuple[bytes, int, float]] = []
        self.sent = self.acknowledged = self.finished = 0

    def send(self, line: bytes, shift_ms: int, record: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """As Sender.send."""
        self.lines.append((line, shift_ms, self.clock.now if self.clock else 0.0))
        self.sent += 1

    def flush(self) -> None:
        """As Sender.flush."""
        self.acknowledged = self.sent

    def finish(self, days: int) -> None:
        """As Sender.finish."""
        self.finished = days


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def time(self) -> float:
        """Seconds since 1970."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds


def test_lines_are_sent_unchanged_whatever_they_hold(tmp_path: Path) -> None:
    content = [line(at(1)), b'{"SessionId": "broken', b"\xff\xfe not UTF-8", line(at(2)) + b","]
    (tmp_path / f"{DAY}.json").write_bytes(b"\r\n".join(content) + b"\n\n")
    recorder = Recorder()
    send_batch(recorder, tmp_path, DAY, DAY, 0)  # type: ignore[arg-type]
    assert [sent for sent, _, _ in recorder.lines] == content
    assert recorder.finished == 1


def test_gzipped_and_monthly_files_are_read(tmp_path: Path) -> None:
    other = DAY + dt.timedelta(days=1)
    with gzip.open(tmp_path / "2020-10.json.gz", "wb") as file:
        file.write(b"\n".join([line(at(23)), b"broken", line(at(0, day=other)), b"broken too"]))
    path = files_of(tmp_path, [DAY])[0][DAY]
    assert list(lines_of(path, DAY)) == [line(at(23)), b"broken"]
    assert list(lines_of(path, other)) == [line(at(0, day=other)), b"broken too"]
    (tmp_path / f"{DAY}.json").write_bytes(line(at(5)))
    assert list(lines_of(files_of(tmp_path, [DAY])[0][DAY], DAY)) == [line(at(5))]


def test_days_without_file_or_line_are_named_after_the_others_are_sent(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json").write_bytes(line(at(1)))
    (tmp_path / f"{DAY + dt.timedelta(days=1)}.json").write_bytes(b"\n")
    recorder = Recorder()
    with pytest.raises(JobError, match=r"2020-10-03 has no file; 2020-10-02 has no line"):
        send_batch(recorder, tmp_path, DAY, DAY + dt.timedelta(days=2), 0)  # type: ignore[arg-type]
    assert len(recorder.lines) == recorder.acknowledged == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json.gz").write_bytes(b"this is no gzip")
    with pytest.raises(JobError, match=r"2020-10-01.json.gz cannot be read"):
        send_batch(Recorder(), tmp_path, DAY, DAY, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("folder", ["missing", "."])
def test_no_folder_and_no_file_at_all_say_what_to_do(folder: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"WEBSERVER_INGESTION_PATH|choose other days"):
        send_batch(Recorder(), tmp_path / folder, DAY, DAY, 0)  # type: ignore[arg-type]


def test_dates_the_wrong_way_round(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="is before"):
        send_batch(Recorder(), tmp_path, DAY, DAY - dt.timedelta(days=1), 0)  # type: ignore[arg-type]


def test_shift_keeps_the_weekday_and_never_passes_today() -> None:
    for number in range(14):
        today = NOW.date() + dt.timedelta(days=number)
        moved = DAY + dt.timedelta(weeks=weeks_to_today(DAY, today))
        assert moved.weekday() == DAY.weekday()
        assert dt.timedelta() <= today - moved < dt.timedelta(days=7)


def replay(folder: Path, speed: float, run_seconds: float, moments: list[dt.datetime]) -> list[tuple[int, float]]:
    """Shift in weeks and second of the replay at which each line was sent."""
    (folder / f"{moments[0]:%Y-%m-%d}.json").write_bytes(b"\n".join(line(moment) for moment in moments))
    clock = Clock()
    recorder = Recorder(clock)
    day = moments[0].date()
    send_realtime(recorder, folder, day, day, speed, run_seconds, clock.time, clock.sleep)  # type: ignore[arg-type]
    return [(shift // WEEK_MS, round(when - NOW.timestamp(), 3)) for _, shift, when in recorder.lines]


def test_at_speed_1_a_click_is_sent_at_its_event_ts_and_earlier_ones_at_once(tmp_path: Path) -> None:
    monday = dt.date(2020, 10, 5)
    moments = [at(10, day=monday), at(11, 59, day=monday), at(12, 1, day=monday), at(12, 30, day=monday)]
    assert replay(tmp_path, 1, 3600, moments) == [(320, 0), (320, 0), (320, 60), (320, 1800)]
    assert len(replay(tmp_path, 1, 600, moments)) == 3, "what is due after the run's end is not sent"


def test_faster_the_replay_starts_with_its_first_click(tmp_path: Path) -> None:
    moments = [at(10), at(10, 10), at(11)]
    assert replay(tmp_path, 60, 3600, moments) == [(320, 0), (320, 10), (320, 60)]


def test_what_the_key_and_the_pace_are_read_from() -> None:
    assert record_of(b"\xef\xbb\xbf" + line(at(1)) + b" , ".rstrip())["SessionId"] == "s" * 24
    assert record_of(b"[1, 2]") == record_of(b"nonsense") == {}
    assert source_ms({"DateCreated": "/Date(1357004977650+0000)/"}) == 1357004977650
    assert source_ms({"DateCreated": 5}) is None
    assert event_id(b"x", 0) != event_id(b"x", WEEK_MS)
    assert PARTITIONS > 1


def test_options_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["--kafka-brokers=k:1", "--ingestion-path=/x", "--last-date=2020-10-01"]
    with pytest.raises(SystemExit):
        producer.parser().parse_args(["batch", *base, "--first-date=01.10.2020"])
    assert "'01.10.2020' is not a day, write it as 2020-10-31" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        producer.parser().parse_args(["realtime", *base, "--first-date=2020-10-01", "--speed=0"])
    assert "'0' is not a number above 0" in capsys.readouterr().err
