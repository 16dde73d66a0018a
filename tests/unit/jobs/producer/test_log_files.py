"""Which lines of which files are the log's, whatever they hold, and the key and the date of each."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from jobs.errors import JobError, LogFileError
from jobs.producer import log_files
from jobs.producer.log_files import MAX_LINE_BYTES, READ_BYTES, _plain, files_of, record_of, session_keys, source_ms
from jobs.producer.replay import WEEK_MS, send_batch, send_realtime
from tests.unit.jobs.producer.recorder import DAY, NEXT, Clock, Recorder, at, batch, line

MONDAY = dt.date(2020, 10, 5)


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


@pytest.mark.parametrize(
    "start", [b"x" * MAX_LINE_BYTES + b"\r\r", b" " * (MAX_LINE_BYTES + 1), b"x" * MAX_LINE_BYTES + b"\r"]
)
def test_an_overlong_line_stays_one_wherever_it_is_cut(tmp_path: Path, start: bytes) -> None:
    cut = (start + b"y" * READ_BYTES)[
        : MAX_LINE_BYTES + READ_BYTES
    ]  # what is read when the line is known to be too long
    (tmp_path / f"{DAY}.json").write_bytes(cut + b"\r\n" + line(at(2)))
    long, last = batch(tmp_path).lines
    assert (len(long), last) == (MAX_LINE_BYTES + 1, line(at(2)))


def test_all_lines_of_a_days_file_are_sent_whatever_their_date(tmp_path: Path) -> None:
    content = [line(at(1)), line(at(1, day=MONDAY)), line(dt.datetime(1, 1, 1, tzinfo=dt.UTC)), b"{}"]
    (tmp_path / f"{DAY}.json").write_bytes(b"\n".join(content))
    assert batch(tmp_path).lines == content


def test_a_months_file_is_sent_for_the_requested_days_without_losing_a_line(tmp_path: Path) -> None:
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


def test_a_broken_link_in_the_logs_folder_hides_no_other_day(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json").write_bytes(line(at(1)))
    (tmp_path / f"{NEXT}.json").symlink_to(f"{NEXT}.json")
    files, missing = files_of(tmp_path, DAY, NEXT)
    assert [file.path.name for file in files] == [f"{DAY}.json"]
    assert missing == [(NEXT, NEXT)]


def test_a_path_that_the_system_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"x{300} cannot be read \(.*too long.*--ingestion-path"):
        files_of(tmp_path / ("x" * 300), DAY, DAY)


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


def test_a_line_that_is_being_written_waits_and_an_old_unfinished_one_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, whole, half = tmp_path / f"{DAY}.json", line(at(1)), line(at(2))
    path.write_bytes(whole + b"\n" + half[:30])
    recorder = batch(tmp_path)
    assert (recorder.lines, recorder.ended) == ([whole], [len(whole) + 1])
    assert (
        f"{path.name}: its last line does not end with a newline yet; it is left for the next run"
        in capsys.readouterr().out
    )
    path.write_bytes(whole + b"\n" + half)
    assert batch(tmp_path).lines == [whole, half], "it is a whole object, though without a line end"
    path.write_bytes(whole + b"\n" + half[:30])
    os.utime(path, (0, time.time() - log_files.GROWING_SECONDS))
    recorder = batch(tmp_path)
    assert (recorder.lines, recorder.ended) == ([whole, half[:30]], [path.stat().st_size])


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
    *(b'{"DateCreated":"a","SessionId":"s","n":%b%b}' % (b"[" * deep, b"]" * deep) for deep in (100, 1500)),
    b'{"n":%b' % (b"[" * 4000),
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
    for text in [*seeds, *(mutated(chance.choice(seeds), chance) for _ in range(20_000))]:
        record = record_of(text)
        session, date = record.get("SessionId"), record.get("DateCreated")
        key = session.encode("utf-8", "replace") if isinstance(session, str) and session else None
        assert session_keys([text]) == [key], text
        assert source_ms(text) == source_ms(json.dumps({"DateCreated": date}).encode()), text
        plain += _plain(text) is not None
    assert plain > 1000, "which is the way of nearly all real lines"
    assert _plain(PLAIN)
