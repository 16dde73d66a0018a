"""Where a producer goes on: what an earlier run sent is not sent again while Kafka holds it, and only then."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from jobs import arguments
from jobs.errors import JobError, NonRetryableError
from jobs.event import event_id
from jobs.generator.__main__ import write_day
from jobs.kafka_topic import Declared
from jobs.producer import __main__ as producer
from jobs.producer import sender as sender_module
from jobs.producer.log_files import files_of
from jobs.producer.sender import Sender
from jobs.producer.topics import progress_topic
from stack.kafka_broker import KafkaBroker
from stack.settings import REPOSITORY
from tests.kafka_runs import DAY, NEXT_DAY, command, lines_of, records_of, stored

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

Produce = Callable[..., str]


@pytest.fixture
def topic() -> str:
    """A topic that nobody else uses."""
    return f"test.{uuid.uuid4().hex}"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two days that a test may change."""
    for day in (DAY, NEXT_DAY):
        write_day(tmp_path / "log", arguments.day(day), 0.1, 1)
    return tmp_path / "log"


@pytest.fixture
def produce(log: Path, topic: str, capsys: pytest.CaptureFixture[str]) -> Produce:
    """Send both days at once, in this process; what it said."""

    def run(kafka: str, *options: str) -> str:
        producer.run(producer.parser().parse_args(command("batch", kafka, log, topic, *options)[3:]))
        return capsys.readouterr().out

    return run


def sent(said: str) -> int:
    """How many lines a run sent."""
    return int(re.findall(r"sent (\d+) lines of \d days", said)[0])


def limit(kafka: str, topic: str, size: int) -> None:
    """Let a topic take no batch of more bytes."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})])
    finally:
        admin.close()


def test_acknowledged_lines_are_sent_again_only_on_request(kafka: str, log: Path, topic: str, produce: Produce) -> None:
    lines = len(lines_of(log))
    assert sent(produce(kafka)) == lines
    said = produce(kafka)
    assert re.search(rf"{DAY}.json: its first \d+ lines were already sent and acknowledged", said)
    assert said.rstrip().endswith(f"sent 0 lines of 2 days, acknowledged 0, failed 0; {lines} were already sent")
    assert len(records_of(kafka, topic)) == lines
    assert sent(produce(kafka, "--shift-weeks=-1")) == lines, "another replay is another one"
    assert sent(produce(kafka, "--again=true")) == lines
    assert len(records_of(kafka, topic)) == 3 * lines
    assert sent(produce(kafka)) == 0


def test_a_file_that_grew_is_sent_from_there_and_a_changed_one_again(
    kafka: str, log: Path, topic: str, produce: Produce
) -> None:
    produce(kafka)
    path = log / f"{DAY}.json"
    content = path.read_bytes()
    path.write_bytes(content + b'{"SessionId": "late"}\n')
    assert sent(produce(kafka)) == 1
    path.write_bytes(b'{"SessionId": "early"}\n' + content)
    said = produce(kafka)
    assert "lines were acknowledged, but the file is not the one that was sent: sends them all again" in said
    assert sent(said) == 1 + content.count(b"\n")
    assert {record.value for record in records_of(kafka, topic)} >= set(lines_of(log))


def test_a_run_ended_by_a_signal_leaves_exactly_the_rest(kafka: str, log: Path, topic: str) -> None:
    words = command("realtime", kafka, log, topic, "--speed=600")
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            while run.poll() is None and not stored(kafka, progress_topic(topic)):
                pass
            run.send_signal(signal.SIGTERM)
            run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == 143
    before = len(records_of(kafka, topic))
    producer.run(producer.parser().parse_args(command("realtime", kafka, log, topic, "--speed=100000")[3:]))
    records = records_of(kafka, topic)
    assert 0 < before < len(records)
    assert Counter(record.value for record in records) == Counter(lines_of(log))


def test_a_run_ended_by_an_error_leaves_exactly_the_rest(kafka: str, log: Path, topic: str) -> None:
    (file, *_), _ = files_of(log, arguments.day(DAY), arguments.day(DAY))
    for number in range(3):
        with suppress(ZeroDivisionError), Sender(kafka, topic, Declared()) as sender:
            assert sender.resume(file, 0) == 5 * number
            for _, line in islice(file.lines(), 5 * number, 5 * number + 5):
                sender.send([line], 0)
            raise ZeroDivisionError
    assert len(records_of(kafka, topic)) == 15


def test_a_topic_that_was_recreated_gets_everything_again(kafka: str, log: Path, topic: str, produce: Produce) -> None:
    produce(kafka)
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.delete_topics([topic])
    finally:
        admin.close()
    said = produce(kafka)
    assert said.count(f"lines were acknowledged, but topic {topic} was recreated since: sends them all again") == 2
    assert Counter(record.value for record in records_of(kafka, topic)) == Counter(lines_of(log))


def test_what_kafka_dropped_is_sent_again(kafka: str, log: Path, topic: str, produce: Produce) -> None:
    produce(kafka)
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.delete_records({TopicPartition(topic, number): 1 for number in range(3)})
    finally:
        admin.close()
    said = produce(kafka)
    assert re.search(
        rf"warning: {DAY}.json: .* now begins at offset 1, but they begin at 0: sends them all again", said
    )
    assert f"{NEXT_DAY}.json: its first" in said, "the second day is behind what was dropped"
    assert {record.value for record in records_of(kafka, topic)} == set(lines_of(log))


def test_what_a_broker_lost_is_sent_again(mortal_kafka: KafkaBroker, log: Path, topic: str, produce: Produce) -> None:
    kafka = mortal_kafka.address
    produce(kafka)
    mortal_kafka.stop()
    _lose_the_end(mortal_kafka, topic)
    mortal_kafka.start()
    assert len(records_of(kafka, topic)) < len(lines_of(log))
    produce(kafka, "--shift-weeks=-1")  # other clicks take the offsets of the lost ones
    said = produce(kafka)
    assert re.search(r"lines were acknowledged, but partition \d of topic \S+ lost what it had at offset \d+", said)
    found = {event_id(record.value, int(record.headers[0][1])) for record in records_of(kafka, topic)}
    assert found >= {event_id(line, 0) for line in lines_of(log)}
    assert sent(produce(kafka)) == 0


def _lose_the_end(broker: KafkaBroker, topic: str) -> None:
    """As a power cut may, before the pages are on the disk: the last batch of a partition."""
    data = broker.home.folder("kafka") / "data"
    (data / ".kafka_cleanshutdown").unlink()
    (data / "recovery-point-offset-checkpoint").unlink()
    segment = data / f"{topic}-0" / f"{0:020}.log"
    segment.write_bytes(segment.read_bytes()[:-20])


def test_a_line_too_long_for_kafka_fails_each_run_and_all_others_are_sent_once(
    kafka: str, log: Path, topic: str, produce: Produce, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log / f"{DAY}.json"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:50], b"x" * 2_000_000, *lines[50:], b""]))
    for again in (False, True):
        with pytest.raises(NonRetryableError, match=rf"1 lines are longer than Kafka accepts .*: 1 of {DAY}\.json"):
            produce(kafka)
        said = capsys.readouterr().out
        assert (f"warning: line 51 of {DAY}.json" in said) != again
        assert (f"its first {len(lines) + 1} lines were already sent" in said) == again
    assert Counter(record.value for record in records_of(kafka, topic)) == Counter(lines_of(log)) - Counter(
        [b"x" * 2_000_000]
    )
    assert sent(produce(kafka, "--first-date=")) == 0, "and no daily run comes to it again"


def test_a_line_too_long_for_the_topic_only_costs_no_other_line(
    kafka: str, log: Path, topic: str, produce: Produce
) -> None:
    produce(kafka)
    limit(kafka, topic, 10_000)
    path = log / f"{DAY}.json"
    long = os.urandom(10_000).hex().encode()
    others = [os.urandom(100).hex().encode() for _ in range(500)]  # whose batches must not be too large either
    with path.open("ab") as file:
        file.write(b"\n".join([long, *others, b""]))
    with pytest.raises(NonRetryableError, match=rf"1 lines are longer than Kafka accepts .*: 1 of {DAY}\.json"):
        produce(kafka)
    assert Counter(record.value for record in records_of(kafka, topic)) == Counter(lines_of(log)) - Counter([long])


def test_only_what_is_acknowledged_is_noted(kafka: str, log: Path, topic: str) -> None:
    (file, *_), _ = files_of(log, arguments.day(DAY), arguments.day(DAY))
    first, *_ = lines_of(log)
    file.path.write_bytes(first + b"\n" + os.urandom(20_000).hex().encode() + b"\n")
    with suppress(JobError), Sender(kafka, topic, Declared()) as sender:
        limit(kafka, topic, 10_000)  # of which it knows nothing
        assert sender.resume(file, 0) == 0
        for _, line in file.lines():
            sender.flush()
            sender.send([line], 0)
        with pytest.raises(
            JobError, match=r"1 of 2 lines were not .* \(MSG_SIZE_TOO_LARGE.*: let this user read the set"
        ):
            sender.flush()
    with Sender(kafka, topic, Declared()) as sender:
        assert sender.resume(file, 0) == 1


def test_a_daily_run_sends_what_is_new_and_nothing_that_kafka_was_given(
    kafka: str, log: Path, topic: str, produce: Produce
) -> None:
    assert sent(produce(kafka, f"--last-date={DAY}")) == len((log / f"{DAY}.json").read_bytes().splitlines())
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.delete_records({TopicPartition(topic, number): -1 for number in range(3)})  # as retention does
    finally:
        admin.close()
    (log / f"{DAY}.json.gz").write_bytes(gzip.compress((log / f"{DAY}.json").read_bytes()))
    (log / f"{DAY}.json").unlink()
    said = produce(kafka, "--first-date=", "--last-date=2020-10-05")
    assert f"sends the days up to 2020-10-05 that are not in Kafka yet: {DAY} to {NEXT_DAY}\n" in said
    assert "warning: no log of 2020-10-03 to 2020-10-05" in said
    assert sent(said) == len((log / f"{NEXT_DAY}.json").read_bytes().splitlines()), "packed, it is the same file"
    assert "2020-10-05 that are not in Kafka yet: nothing\n" in produce(
        kafka, "--first-date=", "--last-date=2020-10-05"
    )


def test_a_run_that_cannot_store_its_progress_fails(
    kafka: str, topic: str, produce: Produce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "DELIVERY_SECONDS", 3)
    produce(kafka)
    limit(kafka, progress_topic(topic), 100)
    with pytest.raises(JobError, match=r"\d+ lines so far are in Kafka, but not how far that is \(MSG_SIZE_TOO_LARGE"):
        produce(kafka, "--again=true")
