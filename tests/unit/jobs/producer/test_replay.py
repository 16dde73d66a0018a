"""The producer without a broker: which lines of which files it sends, and when."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import random
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.days import gaps, spans_of, spans_text
from jobs.errors import JobError, LogFileError, NonRetryableError
from jobs.event import event_id
from jobs.producer import __main__ as producer
from jobs.producer import log_files
from jobs.producer.log_files import (
    MAX_LINE_BYTES,
    READ_BYTES,
    LogFile,
    _plain,
    files_of,
    record_of,
    session_keys,
    source_ms,
)
from jobs.producer.replay import WEEK_MS, check_shift, send_batch, send_new, send_realtime, weeks_to_now, weeks_to_today

DAY = dt.date(2020, 10, 1)
NEXT = DAY + dt.timedelta(days=1)
MONDAY = dt.date(2020, 10, 5)
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)  # a Monday


def line(moment: dt.datetime, session: str = "s" * 24) -> bytes:
    """A log line of that moment."""
    return json.dumps({"DateCreated": f"/Date({int(moment.timestamp() * 1000)})/", "SessionId": session}).encode()


def at(hour: int, minute: int = 0, day: dt.date = DAY) -> dt.datetime:
    """A moment of the day."""
    return dt.datetime.combine(day, dt.time(hour, minute), dt.UTC)


class Clock:
    """A clock that moves only when somebody waits, and by `step` each time it is looked at."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = NOW.timestamp()
        self.step = step

    def time(self) -> float:
        """Seconds since 1970."""
        self.now += self.step
        return self.now


class Recorder:
    """Stands for Kafka: notes each line, its shift and the second of the run."""

    def __init__(self, clock: Clock | None = None, already: int = 0) -> None:
        self.clock = clock or Clock()
        self.already = already
        self.files: list[tuple[str, int]] = []
        self.lines: list[bytes] = []
        self.shifts: set[int] = set()
        self.seconds: list[float] = []
        self.sent = self.acknowledged = 0
        self.finished: int | None = None
        self.ended: list[int] = []
        self.known: set[tuple[str, dt.date, int]] = set()

    def given(self, shift_ms: int) -> set[tuple[str, dt.date, int]]:
        """As Sender.given."""
        assert shift_ms == 0
        return self.known

    def end_file(self, size: int) -> None:
        """As Sender.end_file."""
        self.ended.append(size)

    def resume(self, file: LogFile, shift_ms: int) -> int:
        """As Sender.resume."""
        self.flush()
        self.files.append((file.path.name, shift_ms))
        return self.already

    def send(self, lines: Sequence[bytes], shift_ms: int) -> None:
        """As Sender.send."""
        self.lines += lines
        self.shifts |= {shift_ms for _ in lines}
        self.seconds += [round(self.clock.now - NOW.timestamp(), 3) for _ in lines]
        self.sent += len(lines)

    def wait(self, seconds: float) -> None:
        """As Sender.wait."""
        self.flush()
        self.clock.now += seconds

    def flush(self) -> None:
        """As Sender.flush."""
        self.acknowledged = self.sent

    def finish(self, days: int) -> None:
        """As Sender.finish."""
        self.flush()
        self.finished = days


def batch(folder: Path, first: dt.date = DAY, last: dt.date = DAY, shift_weeks: int = 0) -> Recorder:
    """What a batch of these days sends."""
    recorder = Recorder()
    send_batch(recorder, *files_of(folder, first, last), shift_weeks)
    return recorder


def replay(
    folder: Path, content: list[bytes], speed: float = 1, run_seconds: float = 3600, day: dt.date = DAY, step: float = 0
) -> Recorder:
    """What a replay of this day sends."""
    (folder / f"{day}.json").write_bytes(b"\n".join(content))
    clock = Clock(step)
    recorder = Recorder(clock)
    send_realtime(recorder, files_of(folder, day, day)[0], speed, run_seconds, clock=clock.time)
    return recorder


def test_a_replay_at_another_speed_begins_when_kafka_has_said_how_far_the_file_is(tmp_path: Path) -> None:
    class Slow(Recorder):
        def resume(self, file: LogFile, shift_ms: int) -> int:
            self.clock.now += 2
            return super().resume(file, shift_ms)

    (tmp_path / f"{DAY}.json").write_bytes(b"\n".join([line(at(1)), line(at(1, 1)), line(at(1, 2))]))
    recorder = Slow(clock := Clock())
    send_realtime(recorder, files_of(tmp_path, DAY, DAY)[0], 60, 3600, clock=clock.time)
    assert recorder.seconds == [2, 3, 4]


def test_lines_are_sent_unchanged_whatever_they_hold(tmp_path: Path) -> None:
    content = [line(at(1)), b'{"SessionId": "broken', b"\xff\xfe not UTF-8", line(at(2)) + b",", b"\xef\xbb\xbf{} "]
    (tmp_path / f"{DAY}.json").write_bytes(b"\r\n".join(content) + b"\n \n\n")
    recorder = batch(tmp_path, shift_weeks=2)
    assert recorder.lines == content
    assert recorder.shifts == {2 * WEEK_MS}
    assert recorder.acknowledged == len(content)
    assert recorder.finished == 1


def test_lines_are_the_same_however_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = [line(at(1)), b"x" * 300, b"a\rb", b" y"]
    (tmp_path / f"{DAY}.json").write_bytes(b"\n\n" + b"\r\n".join(content) + b"\n \n")
    for size in (1, 2, 7, 299, READ_BYTES):
        monkeypatch.setattr(log_files, "READ_BYTES", size)
        assert batch(tmp_path).lines == content


def test_a_line_without_end_is_cut_in_bounded_memory_and_the_rest_sent(tmp_path: Path) -> None:
    with gzip.open(tmp_path / f"{DAY}.json.gz", "wb", compresslevel=1) as file:
        file.write(line(at(1)) + b"\n")
        for _ in range(64):
            file.write(b"x" * MAX_LINE_BYTES)
        file.write(b"\n" + line(at(2)))
    tracemalloc.start()
    first, long, last = batch(tmp_path).lines
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (first, last) == (line(at(1)), line(at(2)))
    assert len(long) == MAX_LINE_BYTES + 1
    assert most < 10 * MAX_LINE_BYTES


def test_all_lines_of_a_days_file_are_sent_whatever_their_date(tmp_path: Path) -> None:
    content = [line(at(1)), line(at(1, day=MONDAY)), line(dt.datetime(1, 1, 1, tzinfo=dt.UTC)), b"{}"]
    (tmp_path / f"{DAY}.json").write_bytes(b"\n".join(content))
    assert batch(tmp_path).lines == content


def test_of_a_months_file_the_asked_days_are_sent_and_no_line_is_lost(tmp_path: Path) -> None:
    other_month = [line(dt.datetime(1, 1, 1, tzinfo=dt.UTC)), line(at(1, day=dt.date(3000, 1, 1)))]
    first, second = [b"broken", line(at(23)), *other_month], [line(at(0, day=NEXT)), b"broken too"]
    with gzip.open(tmp_path / "2020-10.json.gz", "wb") as file:
        file.write(b"\n".join([*first, *second]))
    assert batch(tmp_path).lines == first
    assert batch(tmp_path, NEXT, NEXT).lines == second
    both = batch(tmp_path, DAY, NEXT)
    assert (both.lines, both.finished) == ([*first, *second], 2)


def test_a_days_own_file_goes_before_its_months_and_a_plain_one_before_a_packed_one(tmp_path: Path) -> None:
    for hour, name in enumerate(("2020-10.json.gz", "2020-10.json", f"{DAY}.json.gz", f"{DAY}.json")):
        content = line(at(hour))
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        assert batch(tmp_path).lines == [content], name


def test_what_is_wrong_with_days_is_said_after_the_others_are_sent(tmp_path: Path) -> None:
    days = [DAY + dt.timedelta(days=n) for n in range(4)]
    (tmp_path / f"{days[0]}.json").write_bytes(b"\n")
    (tmp_path / f"{days[2]}.json.gz").write_bytes(b"this is no gzip")
    (tmp_path / f"{days[3]}.json").write_bytes(line(at(1)))
    recorder = Recorder()
    with pytest.raises(JobError) as raised:
        send_batch(recorder, *files_of(tmp_path, days[0], days[-1]), 0)
    for words in ("2020-10-02 has no file", "2020-10-01 has no line", "2020-10-03.json.gz cannot be read"):
        assert words in str(raised.value)
    assert recorder.lines == [line(at(1))]
    assert recorder.finished is not None


def test_a_file_that_breaks_off_is_sent_as_far_as_it_goes(tmp_path: Path) -> None:
    content = [line(at(1), f"{n:024}") for n in range(5000)]
    packed = gzip.compress(b"\n".join(content))
    (tmp_path / f"{DAY}.json.gz").write_bytes(packed[: len(packed) // 2])
    recorder = Recorder()
    with pytest.raises(JobError, match=r"2020-10-01.json.gz cannot be read"):
        send_batch(recorder, *files_of(tmp_path, DAY, DAY), 0)
    assert recorder.lines == content[: len(recorder.lines)]
    assert recorder.lines
    clock = Clock()
    with pytest.raises(LogFileError):
        send_realtime(Recorder(clock), files_of(tmp_path, DAY, DAY)[0], 60, 3600, clock=clock.time)


def test_a_range_of_all_days_sends_what_there_is_and_names_the_rest_in_spans(tmp_path: Path) -> None:
    for name in (f"{DAY}.json", "2020-10-03.json.gz", "2020-13.json", "2020-10-32.json", "0000-01.json", "x.json"):
        content = line(at(1))
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    tracemalloc.start()
    with pytest.raises(JobError, match="0001-01-01 to 2020-09-30, 2020-10-02, 2020-10-04 to 9999-12-31 has no file"):
        batch(tmp_path, dt.date.min, dt.date.max)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_gaps_and_spans_are_each_others_rest() -> None:
    days = [DAY + dt.timedelta(days=number) for number in (0, 1, 4, 9)]
    assert spans_text(spans_of(days)) == "2020-10-01 to 2020-10-02, 2020-10-05, 2020-10-10"
    assert spans_text(gaps(days, days[0], days[-1])) == "2020-10-03 to 2020-10-04, 2020-10-06 to 2020-10-09"
    assert gaps(days, days[1], days[1]) == []
    assert gaps([], DAY, NEXT) == [(DAY, NEXT)]


def sent_by_a_daily_run(folder: Path, recorder: Recorder, last: dt.date) -> list[bytes]:
    """What a run without a first day sends; then Kafka was given it."""
    before, files = len(recorder.lines), files_of(folder, None, last)[0]
    recorder.ended.clear()
    send_new(recorder, files, last, 0)
    for (name, _), size in zip(recorder.files[-len(recorder.ended) :], recorder.ended, strict=False):
        recorder.known.add((name, dt.date.fromisoformat(name[:10]), size))
    return recorder.lines[before:]


def test_a_daily_run_sends_every_day_that_kafka_was_never_given_and_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    days = [DAY + dt.timedelta(days=number) for number in range(7)]
    files = {day: tmp_path / f"{day}.json" for day in days}
    recorder = Recorder()
    for day in days[:2]:
        files[day].write_bytes(line(at(1, day=day)) + b"\n")
    assert len(sent_by_a_daily_run(tmp_path, recorder, days[1])) == 2
    capsys.readouterr()
    for day in (*days[2:4], days[5], days[6]):  # an outage of three days, one of which has no log
        files[day].write_bytes(line(at(1, day=day)) + b"\n")
    files[days[0]].unlink()  # long ago, by the log's rotation
    assert sent_by_a_daily_run(tmp_path, recorder, days[5]) == [line(at(1, day=day)) for day in (*days[2:4], days[5])]
    said = capsys.readouterr().out
    assert (
        "sends what Kafka was not given yet of the log until 2020-10-06: 2020-10-03 to 2020-10-04, 2020-10-06\n" in said
    )
    assert "warning: no log of 2020-10-05: put it there, and the next run sends it\n" in said
    assert sent_by_a_daily_run(tmp_path, recorder, days[5]) == []
    assert "until 2020-10-06: nothing\n" in capsys.readouterr().out
    files[days[4]].write_bytes(line(at(2)))
    assert sent_by_a_daily_run(tmp_path, recorder, days[5]) == [line(at(2))], "it came late"


def test_of_a_months_file_a_daily_run_sends_each_day_once(tmp_path: Path) -> None:
    month, size = tmp_path / "2020-10.json", 0
    recorder = Recorder()
    for day in (DAY, NEXT):
        with month.open("ab") as file:
            size += file.write(line(at(1, day=day)) + b"\n")
        send_new(recorder, files_of(tmp_path, None, day)[0], day, 0)
        recorder.known |= {("2020-10.json", DAY + dt.timedelta(days=n), size) for n in range((day - DAY).days + 1)}
    # The first day's file has grown: Kafka's own progress tells that this day has not.
    assert recorder.lines == [line(at(1)), line(at(1)), line(at(1, day=NEXT))]
    assert recorder.ended == [size // 2, size, size]


def test_a_broken_file_is_an_error_once_and_no_daily_run_reads_it_again_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / f"{DAY}.json.gz"
    path.write_bytes(gzip.compress(line(at(1)) + b"\n" + os.urandom(10_000))[:-4000])
    recorder = Recorder()
    with pytest.raises(NonRetryableError, match="cannot be read"):
        send_new(recorder, files_of(tmp_path, None, DAY)[0], DAY, 0)
    assert (recorder.ended, recorder.lines[:1]) == ([path.stat().st_size], [line(at(1))])
    recorder.known = {(f"{DAY}.json", DAY, path.stat().st_size)}
    send_new(recorder, files_of(tmp_path, None, DAY)[0], DAY, 0)
    assert len(recorder.ended) == 1


def test_a_run_until_a_moment_leaves_the_rest_and_the_next_one_goes_on_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {day: [line(at(hour, day=day)) for hour in (1, 5, 9)] for day in (DAY, NEXT)}
    content[NEXT].insert(1, b"broken")  # goes with the line before it
    for day, lines in content.items():
        (tmp_path / f"{day}.json").write_bytes(b"\n".join([*lines, b""]))
    until = at(5, day=NEXT) + dt.timedelta(weeks=3)
    recorder = Recorder()
    send_batch(recorder, *files_of(tmp_path, DAY, NEXT), 3, until)
    assert recorder.lines == [*content[DAY], *content[NEXT][:2]]
    assert len(recorder.ended) == 1, "Kafka was not given the second day"
    assert "2020-10-02: leaves what happens from 2020-10-23 05:00:00 on to another run\n" in capsys.readouterr().out
    going_on = Recorder(already=2)
    send_batch(going_on, *files_of(tmp_path, NEXT, NEXT), 3, until + dt.timedelta(minutes=1))
    assert (going_on.lines, going_on.ended) == ([content[NEXT][2]], [])
    daily = Recorder()
    send_new(daily, files_of(tmp_path, None, NEXT)[0], NEXT, 0, at(5))
    assert daily.lines == content[DAY][:1]


def test_a_line_that_is_being_written_waits_and_one_that_was_left_half_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, whole, half = tmp_path / f"{DAY}.json", line(at(1)), line(at(2))
    path.write_bytes(whole + b"\n" + half[:30])
    recorder = batch(tmp_path)
    assert (recorder.lines, recorder.ended) == ([whole], [len(whole) + 1])
    assert f"{path.name}: its last line has no line end yet; left for the next run" in capsys.readouterr().out
    path.write_bytes(whole + b"\n" + half)
    assert batch(tmp_path).lines == [whole, half], "it is a whole object, though without a line end"
    path.write_bytes(whole + b"\n" + half[:30])
    os.utime(path, (0, time.time() - log_files.GROWING_SECONDS))
    recorder = batch(tmp_path)
    assert (recorder.lines, recorder.ended) == ([whole, half[:30]], [path.stat().st_size])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ingestion-path=missing"], "no folder missing: WEBSERVER_INGESTION_PATH"),
        (["--ingestion-path=."], "no log of 2020-10-01 in"),
        (["--last-date=2020-09-30"], "--last-date 2020-09-30 is before --first-date 2020-10-01"),
        (["--ingestion-path=logs", "--shift-weeks=2000"], "more than 31 days ahead"),
    ],
)
def test_what_is_wrong_with_the_log_is_said_before_kafka_is_asked(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{DAY}.json").write_bytes(line(at(1)))
    base = ["batch", "--kafka-brokers=127.0.0.1:1", "--ingestion-path=x", f"--first-date={DAY}", f"--last-date={DAY}"]
    with pytest.raises(JobError, match=message):
        producer.run(producer.parser().parse_args([*base, *options]))


def test_a_replay_goes_on_with_the_shift_that_it_is_given(tmp_path: Path) -> None:
    """At speed 1 it would lead to this Thursday; a week less, and all is due at once."""
    clock = Clock()
    recorder = Recorder(clock)
    weeks = weeks_to_now(DAY, DAY, 1, NOW.date()) - 1
    (tmp_path / f"{DAY}.json").write_bytes(line(at(1)) + b"\n" + line(at(2)))
    send_realtime(recorder, files_of(tmp_path, DAY, DAY)[0], 1, 60, weeks, clock.time)
    assert (recorder.shifts, recorder.seconds) == ({weeks * WEEK_MS}, [0, 0])


def test_a_replay_with_a_day_missing_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json").write_bytes(line(at(1)))
    options = ["realtime", "--kafka-brokers=127.0.0.1:1", f"--ingestion-path={tmp_path}"]
    with pytest.raises(JobError, match="no log of 2020-10-02 to 2020-10-03 in"):
        producer.run(producer.parser().parse_args([*options, f"--first-date={DAY}", "--last-date=2020-10-03"]))


def test_shift_keeps_the_weekday_and_never_passes_today() -> None:
    for number in range(14):
        today = NOW.date() + dt.timedelta(days=number)
        moved = DAY + dt.timedelta(weeks=weeks_to_today(DAY, today))
        assert moved.weekday() == DAY.weekday()
        assert dt.timedelta() <= today - moved < dt.timedelta(days=7)


def test_a_shift_within_31_days_from_today_is_taken() -> None:
    check_shift(DAY, 4, DAY)
    for weeks in (5, 10**9):
        with pytest.raises(JobError, match=f"--shift-weeks {weeks} moves 2020-10-01 more than 31 days ahead of today"):
            check_shift(DAY, weeks, DAY)


def test_at_speed_1_a_click_is_sent_at_its_event_ts_and_earlier_ones_at_once(tmp_path: Path) -> None:
    content = [line(moment) for moment in (at(10), at(11, 59), at(12, 1), at(12, 30))]
    monday = [line(moment) for moment in (at(h, m, MONDAY) for h, m in ((10, 0), (11, 59), (12, 1), (12, 30)))]
    assert replay(tmp_path, content).seconds == [0, 0, 0, 0], "the latest Thursday is four days ago"
    recorder = replay(tmp_path, monday, day=MONDAY)
    assert recorder.seconds == [0, 0, 60, 1800]
    assert recorder.shifts == {320 * WEEK_MS}
    assert recorder.finished == 1


def test_faster_the_replay_starts_with_its_first_click(tmp_path: Path) -> None:
    assert replay(tmp_path, [line(at(10)), line(at(10, 10)), line(at(11))], speed=60).seconds == [0, 10, 60]
    assert replay(tmp_path, [line(at(10)), line(at(10, 10))], speed=0.5).seconds == [0, 1200]


def test_a_replay_ends_in_time_with_all_stored(tmp_path: Path) -> None:
    content = [line(at(12, minute, MONDAY)) for minute in range(0, 60, 10)]
    recorder = replay(tmp_path, content, run_seconds=1500, day=MONDAY)
    assert recorder.seconds == [0, 600, 1200]
    assert recorder.acknowledged == 3
    assert recorder.finished == 1
    past = [line(at(1))] * 1000
    assert len(replay(tmp_path, past, run_seconds=60, step=1).lines) < 61, "also while it sends what is due at once"


def test_defective_dates_are_nothing_to_wait_for(tmp_path: Path) -> None:
    odd = [
        b"broken",
        line(at(9, day=DAY - dt.timedelta(days=2))),
        line(dt.datetime(1, 1, 1, tzinfo=dt.UTC)),
        line(at(9, day=dt.date(3000, 1, 1))),
        line(at(9, day=dt.date(2021, 3, 1))),
    ]
    recorder = replay(tmp_path, [line(at(1)), *odd, line(at(1, 1))], speed=60)
    assert recorder.seconds == [0, 0, 0, 0, 0, 0, 1]
    recorder = replay(tmp_path, [*odd, line(at(0, 1))], speed=60)
    assert recorder.seconds == [0, 0, 0, 0, 0, 1], "a first click that is days late does not set the start"


def test_lines_that_are_already_sent_are_left_out_and_their_days_are_not_empty(tmp_path: Path) -> None:
    content = [line(at(hour)) for hour in range(5)]
    (tmp_path / f"{DAY}.json").write_bytes(b"\n".join(content))
    for already in (2, 5):
        recorder = Recorder(already=already)
        send_batch(recorder, *files_of(tmp_path, DAY, DAY), -1)
        assert recorder.lines == content[already:]
        assert recorder.files == [(f"{DAY}.json", -WEEK_MS)]
        assert recorder.finished == 1


def test_a_replay_goes_on_with_the_first_click_that_is_not_sent(tmp_path: Path) -> None:
    content = [line(at(10)), line(at(11)), line(at(12)), line(at(12, 30))]
    (tmp_path / f"{DAY}.json").write_bytes(b"\n".join(content))
    clock = Clock()
    recorder = Recorder(clock, already=2)
    send_realtime(recorder, files_of(tmp_path, DAY, DAY)[0], 60, 3600, clock=clock.time)
    assert recorder.lines == content[2:]
    assert recorder.seconds == [0, 30]
    assert recorder.files == [(f"{DAY}.json", weeks_to_now(DAY, DAY, 60, NOW.date()) * WEEK_MS)]


@pytest.mark.parametrize("speed", [0.5, 1, 60, 1e6])
@pytest.mark.parametrize("today", [DAY + dt.timedelta(weeks=9, days=number) for number in range(7)])
def test_no_click_of_a_replay_is_ahead_of_now(speed: float, today: dt.date) -> None:
    weeks = dt.timedelta(weeks=weeks_to_now(DAY, NEXT, speed, today))
    assert DAY + weeks <= today if speed == 1 else NEXT + weeks < today
    assert today - (DAY + weeks) <= dt.timedelta(days=8)


def test_a_replay_names_a_day_without_a_line_after_the_days_before_it(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json").write_bytes(line(at(1)))
    (tmp_path / f"{NEXT}.json").write_bytes(b"")
    clock = Clock()
    recorder = Recorder(clock)
    with pytest.raises(JobError, match="2020-10-02 has no line in"):
        send_realtime(recorder, files_of(tmp_path, DAY, NEXT)[0], 1, 3600, clock=clock.time)
    assert recorder.acknowledged == 1


def test_what_the_key_and_the_pace_are_read_from() -> None:
    assert record_of(b"\xef\xbb\xbf" + line(at(1)) + b",  ")["SessionId"] == "s" * 24
    assert record_of(rb'{"DateCreated": "\/Date(5)\/"}') == {"DateCreated": "/Date(5)/"}
    assert record_of(b"[1, 2]") == record_of(b"nonsense") == record_of(b"[" * 100_000) == {}
    assert source_ms(b'{"DateCreated": "/Date(1357004977650+0000)/"}') == 1357004977650
    assert source_ms(b'{"DateCreated": "/Date(-62135596800000)/"}') == -62135596800000
    for date in (5, None, "/Date()/", f"/Date({'9' * 5000})/", "/Date(1)/\n"):
        assert source_ms(json.dumps({"DateCreated": date}).encode()) is None


GENERATED = (
    b'{"DateCreated":"/Date(1593561626976)/","SessionId":"wotrgraazw0lmzgn1jzuxwtr","DocumentId":1094990,'
    b'"Url":"https://a.b/c","Title":"Stroke \\"x\\" \\/ y","DOI":"","ClinicalAreas":",Cardiology",'
    b'"Keywords":null,"Documents":[1054677, 0,12],"Other": true}'
)
PLAIN = GENERATED.replace(rb"\"", b"'").replace(rb"\/", b"/")
ODD = [
    b'{"SessionId": "late", "DateCreated": "/Date(5)/"}',
    b'{"DateCreated": "a", "SessionId": "first", "SessionId": "last"}',
    b'{"DateCreated": "a", "SessionId": "first", "Session\\u0049d": "last", "DateCreate\\u0064": "b"}',
    b'{"DateCreated": "a", "SessionId": "outer", "x": {"SessionId": "inner"}}',
    b'{"DateCreated": "a", "SessionId": "\\u0061\\ud800 \\n"}',
    b'{"DateCreated": "a", "SessionId": 5}',
    b'{"DateCreated": "a", "SessionId": ["s"]}',
    b'{"DateCreated": "a", "SessionId": "s", "n": %b}' % (b"9" * 5000),
    b'{"DateCreated": "a", "SessionId": "s", "n": [01]}',
    b'{"DateCreated": "a", "SessionId": "s", "n": [-5, 1.5, "x"]}',
    b'{"DateCreated": "a", "SessionId": "s", "n": -0.5e3, "m": NaN}',
    b'{"DateCreated":"a" ,\t"SessionId" :"s"}\x0b,',
    '{"DateCreated":"ä","SessionId":"sß"}'.encode(),
    b'{"DateCreated":"a","SessionId":"s\xff"}',
    b'{"DateCreated":"a","SessionId":"s","x":"\x7f\x00"}',
    b'\xef\xbb\xbf{"DateCreated":"a","SessionId":"s"}',
    '{"DateCreated":"a","SessionId":"s"}'.encode("utf-16"),
    b'[{"DateCreated":"a","SessionId":"s"}]',
    b"{}",
    b"",
]


def mutated(line: bytes, chance: random.Random) -> bytes:
    """The line with some bytes removed, repeated, exchanged or put in."""
    for _ in range(chance.randrange(4)):
        begin = chance.randrange(len(line) + 1)
        end = begin + chance.choice([0, 1, 1, 2, 40])
        put = chance.choice([b"", b'"', b"\\", b",", b"}", b"]", b"0", b" ", b"\xe4", b"\x01", line[begin:end] * 2])
        line = line[:begin] + put + line[end:]
    return line


def test_key_and_date_are_those_of_the_parsed_line_however_it_is_broken() -> None:
    chance = random.Random(1)  # noqa: S311 (not for security)
    seeds = [*ODD, *[GENERATED, PLAIN] * len(ODD)]
    plain = 0
    for line in [*seeds, *(mutated(chance.choice(seeds), chance) for _ in range(20_000))]:
        record = record_of(line)
        session, date = record.get("SessionId"), record.get("DateCreated")
        key = session.encode("utf-8", "replace") if isinstance(session, str) and session else None
        assert session_keys([line]) == [key], line
        assert source_ms(line) == source_ms(json.dumps({"DateCreated": date}).encode()), line
        plain += _plain(line) is not None
    assert plain > 1000, "which is the way of nearly all real lines"
    assert _plain(PLAIN)


def test_the_events_identity_is_that_of_the_contract() -> None:
    # printf '{}|0' | sha256sum
    assert event_id(b"{}", 0) == "f971f7b0563698352d025ea8cc125fbd135904e1bd27b60fa0a9b720b937249f"
    assert event_id(b"{}", 0) != event_id(b"{}", WEEK_MS)


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
