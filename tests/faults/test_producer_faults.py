"""A producer that is killed, and a broker that is: every click is in Kafka, in order, and after its identity once."""

from __future__ import annotations

import random
import signal
import time
import uuid
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from jobs import arguments
from jobs.event import SHIFT_HEADER, event_id
from jobs.generator.__main__ import write_day
from jobs.producer.log_files import record_of
from jobs.producer.replay import WEEK_MS
from jobs.producer.sender import MAX_WAITING
from stack.kafka_broker import KafkaBroker
from tests.faults.conftest import FULL, GOES_ON_SECONDS, Tell, kill
from tests.kafka_runs import DAY, NEXT_DAY, lines_of, producing, records_of, stored, wait_for_more

# kafka-python leaves the socket of a refused connection to the garbage collector, which complains.
pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

KILLS = 50 if FULL else 2
BROKER_KILLS = 10 if FULL else 1
STARTS_SECONDS = 60
COPIES = 35 if FULL else 20


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dirty days, long enough to be killed in: copies of the generator's, each with sessions of its own."""
    folder = tmp_path_factory.mktemp("log")
    for day in (DAY, NEXT_DAY):
        write_day(folder, arguments.day(day), 1, 1, dirty=True)
        path = folder / f"{day}.json"
        content = path.read_bytes()
        copies = (content.replace(b'"SessionId":"', b'"SessionId":"%d' % number) for number in range(COPIES))
        path.write_bytes(b"".join(copies))
    return folder


@pytest.fixture
def topic() -> str:
    """A topic that nobody else uses."""
    return f"faults.{uuid.uuid4().hex}"


def of_week(weeks: int) -> str:
    """The option that moves both days by so many weeks."""
    return f"--shift-weeks={weeks}"


def identity(record: Any) -> str:
    """The event_id of a record."""
    return event_id(record.value, int(dict(record.headers)[SHIFT_HEADER]))


def sessions(lines: list[bytes]) -> dict[str, list[bytes]]:
    """The lines of each session, in order, each line once."""
    found: dict[str, dict[bytes, None]] = {}
    for line in lines:
        found.setdefault(record_of(line).get("SessionId") or "", {})[line] = None
    return {session: list(its) for session, its in found.items() if session}


def check(records: list[Any], log: Path, weeks: range) -> None:
    """Every line of every shift is there, nothing else, and each session in order."""
    lines = lines_of(log)
    expected = {event_id(line, number * WEEK_MS) for number in weeks for line in lines}
    found = {identity(record) for record in records}
    assert (len(expected - found), len(found - expected)) == (0, 0), "lost, and foreign ones"
    in_order = sessions(lines)
    for number in weeks:
        of_shift = [record.value for record in records if int(dict(record.headers)[SHIFT_HEADER]) == number * WEEK_MS]
        assert sessions(of_shift) == in_order


def test_a_killed_producer_continues_where_it_was(
    mortal_kafka: KafkaBroker, log: Path, topic: str, chance: random.Random, tell: Tell
) -> None:
    kafka, happened = mortal_kafka.address, Counter[str]()
    resumed = twice = 0
    topics = map(f"{topic}.{{}}".format, count())
    topic = next(topics)
    # A kill before the first note of how far it came lets nothing go on: slow machines need more of them.
    while happened["in the middle"] < KILLS or (not resumed and happened["in the middle"] < 10 * KILLS):
        before = stored(kafka, topic)
        with producing(kafka, log, topic) as run:
            if chance.random() < 0.2:
                time.sleep(chance.uniform(0, 2))  # also while it starts and connects
            elif wait_for_more(kafka, topic, before, run, STARTS_SECONDS):
                time.sleep(chance.uniform(0, 0.5))
            run.kill()
            said = run.communicate()[0]
        resumed += "continues after them" in said
        assert run.returncode in (-signal.SIGKILL, 0), said
        if run.returncode == 0 or "acknowledged, failed" in said:
            happened["too late"] += 1
            twice += complete(kafka, log, topic)
            topic = next(topics)
        else:
            happened["in the middle" if stored(kafka, topic) > before else "before the first line"] += 1
    with producing(kafka, log, topic) as run:
        said = run.communicate(timeout=120)[0]
    assert run.returncode == 0, said
    resumed += "continues after them" in said
    twice += complete(kafka, log, topic)
    tell(f"kill -9 of the producer: {dict(happened)}; {resumed} runs went on; {twice} records twice")
    assert resumed
    assert 0 <= twice <= happened["in the middle"] * MAX_WAITING


def complete(kafka: str, log: Path, topic: str) -> int:
    """Check a topic into which the log was sent to its end; how many records are there again."""
    records = records_of(kafka, topic)
    check(records, log, range(1))
    return len(records) - len(lines_of(log))


def test_a_killed_broker_loses_and_duplicates_nothing(
    mortal_kafka: KafkaBroker, log: Path, topic: str, chance: random.Random, tell: Tell
) -> None:
    waits: list[float] = []
    weeks = 1
    while len(waits) < BROKER_KILLS:
        weeks -= 1
        with producing(mortal_kafka.address, log, topic, of_week(weeks)) as run:
            while len(waits) < BROKER_KILLS and wait_for_more(
                mortal_kafka.address, topic, stored(mortal_kafka.address, topic), run, STARTS_SECONDS
            ):
                time.sleep(chance.uniform(0, 0.5))
                kill(mortal_kafka)
                mortal_kafka.start()
                started, before = time.monotonic(), stored(mortal_kafka.address, topic)
                if wait_for_more(mortal_kafka.address, topic, before, run, GOES_ON_SECONDS):
                    waits.append(time.monotonic() - started)
            said = run.communicate(timeout=120)[0]
        assert run.returncode == 0, said
    records = records_of(mortal_kafka.address, topic)
    tell(f"kill -9 of the broker: {len(waits)}; {len(records)} records; went on {max(waits):.1f} s after its start")
    check(records, log, range(weeks, 1))
    assert len(records) == len(lines_of(log)) * (1 - weeks), "an idempotent producer doubles nothing"
