"""What is sent, and when: a range of days at once, a daily run, a replay at the pace of event_ts."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from jobs.errors import JobError, NonRetryableError
from jobs.producer.log_files import LogFile, files_of
from jobs.producer.replay import WEEK_MS, check_shift, send_batch, send_new, send_realtime, weeks_to_now, weeks_to_today
from tests.unit.jobs.producer.recorder import DAY, NEXT, NOW, Clock, Recorder, at, batch, line

MONDAY = dt.date(2020, 10, 5)


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


def test_what_is_wrong_with_days_is_reported_after_the_others_are_sent(tmp_path: Path) -> None:
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


def test_a_storage_that_fails_may_be_tried_again_and_a_broken_file_not(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json.gz").write_bytes(b"this is no gzip")
    (tmp_path / f"{NEXT}.json").write_bytes(line(at(1)))
    (broken, lost), _ = files_of(tmp_path, DAY, NEXT)
    lost.path.unlink()  # as a mounted folder that has gone away
    with pytest.raises(JobError) as raised:
        send_batch(Recorder(), [lost], [], 0)
    assert raised.type is JobError
    assert "No such file" in str(raised.value)
    assert "has no line" not in str(raised.value), "which nobody knows"
    for files in ([broken], [lost, broken]):
        with pytest.raises(NonRetryableError, match="cannot be read"):
            send_batch(Recorder(), files, [], 0)
    with pytest.raises(NonRetryableError):
        send_realtime(Recorder(), [broken], 60, 3600)


def test_a_range_of_all_days_sends_what_there_is_and_names_the_rest_in_spans(tmp_path: Path) -> None:
    for name in (f"{DAY}.json", "2020-10-03.json.gz", "2020-13.json", "2020-10-32.json", "0000-01.json", "x.json"):
        content = line(at(1))
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    tracemalloc.start()
    with pytest.raises(JobError, match="0001-01-01 to 2020-09-30, 2020-10-02, 2020-10-04 to 9999-12-31 has no file"):
        batch(tmp_path, dt.date.min, dt.date.max)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


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
    assert "sends the days up to 2020-10-06 that are not in Kafka yet: 2020-10-03 to 2020-10-04, 2020-10-06\n" in said
    assert "warning: no log of 2020-10-05: put it there, and the next run sends it\n" in said
    assert sent_by_a_daily_run(tmp_path, recorder, days[5]) == []
    assert "not in Kafka yet: nothing\n" in capsys.readouterr().out
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


def test_a_run_until_a_moment_leaves_the_rest_and_the_next_one_continues_there(
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
    assert "2020-10-02: leaves clicks from 2020-10-23 05:00:00 on to a later run\n" in capsys.readouterr().out
    going_on = Recorder(already=2)
    send_batch(going_on, *files_of(tmp_path, NEXT, NEXT), 3, until + dt.timedelta(minutes=1))
    assert (going_on.lines, going_on.ended) == ([content[NEXT][2]], [])
    daily = Recorder()
    send_new(daily, files_of(tmp_path, None, NEXT)[0], NEXT, 0, at(5))
    assert daily.lines == content[DAY][:1]


def test_a_replay_continues_with_the_given_shift(tmp_path: Path) -> None:
    """At speed 1 it would lead to this Thursday; a week less, and all is due at once."""
    clock = Clock()
    recorder = Recorder(clock)
    weeks = weeks_to_now(DAY, DAY, 1, NOW.date()) - 1
    (tmp_path / f"{DAY}.json").write_bytes(line(at(1)) + b"\n" + line(at(2)))
    send_realtime(recorder, files_of(tmp_path, DAY, DAY)[0], 1, 60, weeks, clock.time)
    assert (recorder.shifts, recorder.seconds) == ({weeks * WEEK_MS}, [0, 0])


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


def test_a_shift_to_before_the_contracts_first_day_is_refused() -> None:
    check_shift(dt.date(2000, 1, 8), -1, DAY)
    for last, weeks in ((dt.date(2000, 1, 7), -1), (DAY, -(10**13))):
        with pytest.raises(JobError, match=f"--shift-weeks {weeks} moves {last} to before 2000-01-01"):
            check_shift(last, weeks, DAY)


def test_faster_than_the_clock_no_click_is_sent_ahead_of_now() -> None:
    check_shift(DAY, 1, DAY + dt.timedelta(days=8), 60)
    check_shift(DAY, 1, DAY + dt.timedelta(days=7), 1)
    with pytest.raises(JobError, match=r"--shift-weeks 1 moves 2020-10-01 to today, 2020-10-08, or later, and at sp"):
        check_shift(DAY, 1, DAY + dt.timedelta(days=7), 60)


def test_at_speed_1_a_click_is_sent_at_its_event_ts_and_earlier_ones_at_once(tmp_path: Path) -> None:
    content = [line(moment) for moment in (at(10), at(11, 59), at(12, 1), at(12, 30))]
    monday = [line(moment) for moment in (at(h, m, MONDAY) for h, m in ((10, 0), (11, 59), (12, 1), (12, 30)))]
    assert replay(tmp_path, content).seconds == [0, 0, 0, 0], "the latest Thursday is four days ago"
    recorder = replay(tmp_path, monday, day=MONDAY)
    assert recorder.seconds == [0, 0, 60, 1800]
    assert recorder.shifts == {320 * WEEK_MS}
    assert recorder.finished == 1


def test_above_speed_1_a_replay_starts_with_its_first_click(tmp_path: Path) -> None:
    assert replay(tmp_path, [line(at(10)), line(at(10, 10)), line(at(11))], speed=60).seconds == [0, 10, 60]
    assert replay(tmp_path, [line(at(10)), line(at(10, 10))], speed=0.5).seconds == [0, 1200]


def test_a_replay_ends_in_time_and_everything_sent_is_stored(tmp_path: Path) -> None:
    content = [line(at(12, minute, MONDAY)) for minute in range(0, 60, 10)]
    recorder = replay(tmp_path, content, run_seconds=1500, day=MONDAY)
    assert recorder.seconds == [0, 600, 1200]
    assert recorder.acknowledged == 3
    assert recorder.finished == 1
    past = [line(at(1))] * 1000
    assert len(replay(tmp_path, past, run_seconds=60, step=1).lines) < 61, "also while it sends what is due at once"


def test_a_replay_does_not_wait_for_lines_with_invalid_dates(tmp_path: Path) -> None:
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


def test_a_replay_continues_with_the_first_click_that_was_not_sent(tmp_path: Path) -> None:
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
