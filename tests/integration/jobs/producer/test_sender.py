"""The producer against a real broker: what is in Kafka afterwards, and how it ends when something fails."""

from __future__ import annotations

import datetime as dt
import gc
import json
import random
import re
import signal
import statistics
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.partitioner import murmur2

from jobs.errors import JobError, NonRetryableError
from jobs.event import PARTITIONS, SHIFT_HEADER, TOPIC, event_id
from jobs.generator.__main__ import write_day
from jobs.kafka_topic import Declared
from jobs.producer import sender as sender_module
from jobs.producer import topics as topics_module
from jobs.producer.log_files import record_of, source_ms
from jobs.producer.replay import WEEK_MS
from jobs.producer.sender import Sender
from jobs.producer.topics import progress_topic
from stack.kafka_broker import KafkaBroker
from stack.settings import REPOSITORY
from tests.kafka_runs import command, lines_of, records_of

# kafka-python leaves the socket of a refused connection to the garbage collector, which complains.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

DAY = dt.date(2020, 10, 1)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect such sockets here, where the complaint is ignored, and not in the next module's tests."""
    yield
    gc.collect()


@pytest.fixture
def topic() -> str:
    """A topic that nobody else uses."""
    return f"test.{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dirty days at a fifth of the scale, and lines that certainly have no key."""
    folder = tmp_path_factory.mktemp("log")
    for number in range(2):
        write_day(folder, DAY + dt.timedelta(days=number), 0.2, 1, dirty=True)
    with (folder / f"{DAY}.json").open("ab") as file:
        file.write(b'{"SessionId": "broken\n\xff\xfe not UTF-8\n')
    return folder


def produce(
    mode: str, kafka: str, log: Path, topic: str, *options: str, limit: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run the producer to its end."""
    words = command(mode, kafka, log, topic, *options)
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=limit, check=False)


@contextmanager
def started_replay(kafka: str, log: Path, topic: str) -> Iterator[subprocess.Popen[str]]:
    """A replay that has been sending for some seconds."""
    words = command("realtime", kafka, log, topic, "--speed=60")
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if "replays" in line:
                break
        time.sleep(3)
        yield process


def test_a_batch_is_in_kafka_line_by_line_and_a_resend_has_the_same_identities(
    kafka: str, log: Path, topic: str
) -> None:
    done = produce("batch", kafka, log, topic)
    assert (done.returncode, done.stderr) == (0, "")
    expected = lines_of(log)
    summary = f"sent {len(expected)} lines of 2 days, acknowledged {len(expected)}, failed 0"
    assert done.stdout.rstrip().endswith(summary)
    assert re.search(r"2020-10-02: read \d+ lines of 2020-10-02.json", done.stdout)

    records = records_of(kafka, topic)
    assert Counter(record.value for record in records) == Counter(expected)
    assert {record.partition for record in records} == set(range(PARTITIONS))
    assert {record.headers[0] for record in records} == {(SHIFT_HEADER, b"0")}
    for record in records:
        assert record.key == ((record_of(record.value).get("SessionId") or "").encode() or None)
    assert any(record.key is None for record in records), "the broken lines are there too"

    assert produce("batch", kafka, log, topic, "--again=true").returncode == 0
    resent = records_of(kafka, topic)
    assert len(resent) == 2 * len(expected)
    assert len({event_id(record.value, 0) for record in resent}) == len(set(expected))


def test_each_key_goes_where_kafka_python_would_send_it(kafka: str, topic: str) -> None:
    chance = random.Random(1)  # noqa: S311
    keys = [f"{chance.getrandbits(bits):x}" for bits in range(1, 101) for _ in range(100)]
    with Sender(kafka, topic, Declared()) as sender:
        sender.send([json.dumps({"SessionId": key}).encode() for key in keys], 0)
        sender.finish(1)
    records = records_of(kafka, topic)
    assert len(records) == len(keys) == 10_000
    assert [record.partition for record in records] == [
        (murmur2(record.key) & 0x7FFFFFFF) % PARTITIONS for record in records
    ]
    with_python = KafkaProducer(bootstrap_servers=kafka)
    try:
        futures = {key: with_python.send(topic, key=key.encode(), value=b"{}") for key in keys[:1000]}
        there = {key: future.get(timeout=30).partition for key, future in futures.items()}
    finally:
        with_python.close()
    assert {record.key.decode(): record.partition for record in records if record.key}.items() >= there.items()


def test_a_missing_day_is_an_error_after_the_others_are_stored(kafka: str, log: Path, topic: str) -> None:
    done = produce("batch", kafka, log, topic, "--last-date=2020-10-03")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 2020-10-03 has no file: the rest is in Kafka")
    assert done.stderr.count("\n") == 1
    assert done.stdout.rstrip().endswith("failed 0")
    assert len(records_of(kafka, topic)) == len(lines_of(log))


def test_a_session_stays_in_order_in_one_partition(kafka: str, log: Path, topic: str) -> None:
    assert produce("batch", kafka, log, topic, "--shift-weeks=-1").returncode == 0
    sent: dict[str, list[bytes]] = {}
    for line in lines_of(log):
        sent.setdefault(record_of(line).get("SessionId") or "", []).append(line)
    del sent[""]
    received: dict[str, list[bytes]] = {}
    partitions: dict[str, set[int]] = {}
    for record in records_of(kafka, topic):
        assert record.headers == [(SHIFT_HEADER, str(-WEEK_MS).encode())]
        if record.key:
            received.setdefault(record.key.decode(), []).append(record.value)
            partitions.setdefault(record.key.decode(), set()).add(record.partition)
    assert received == sent
    assert {len(numbers) for numbers in partitions.values()} == {1}


def test_a_fast_replay_sends_all_moved_to_this_week(kafka: str, log: Path, topic: str) -> None:
    done = produce("realtime", kafka, log, topic, "--speed=100000")
    assert (done.returncode, done.stderr) == (0, "")
    records = records_of(kafka, topic)
    assert Counter(record.value for record in records) == Counter(lines_of(log))
    (shift,) = {int(record.headers[0][1]) for record in records}
    moved = DAY + dt.timedelta(milliseconds=shift)
    assert shift % WEEK_MS == 0
    assert dt.timedelta() <= dt.datetime.now(dt.UTC).date() - moved <= dt.timedelta(days=7)
    assert done.stdout.rstrip().endswith("failed 0")


def test_a_replay_sends_each_click_at_its_moment(kafka: str, topic: str, tmp_path: Path) -> None:
    today = dt.datetime.now(dt.UTC).date()
    day = today - dt.timedelta(weeks=100)
    first = (time.time() + 3) * 1000 - 100 * WEEK_MS
    clicks = [f'{{"DateCreated":"/Date({int(first) + 10 * n})/","SessionId":"s{n}"}}' for n in range(200)]
    (tmp_path / f"{day}.json").write_text("\n".join(clicks), encoding="ascii")
    done = produce("realtime", kafka, tmp_path, topic, f"--first-date={day}", f"--last-date={day}")
    assert (done.returncode, done.stderr) == (0, "")
    late = [record.timestamp - (source_ms(record.value) or 0) - 100 * WEEK_MS for record in records_of(kafka, topic)]
    assert len(late) == 200
    assert min(late) >= -1, "milliseconds"
    assert statistics.median(late) < 20, "also on a busy machine"


def test_a_replay_succeeds_when_its_time_is_over(kafka: str, log: Path, topic: str) -> None:
    started = time.monotonic()
    done = produce("realtime", kafka, log, topic, "--speed=600", "--run-minutes=0.05")
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started < 20
    sent = int(re.findall(r"sent (\d+) lines of 1 days", done.stdout)[0])
    assert 0 < len(records_of(kafka, topic)) == sent < len(lines_of(log))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_replay_with_143_and_all_that_was_sent_is_stored(
    number: signal.Signals, kafka: str, log: Path, topic: str
) -> None:
    with started_replay(kafka, log, topic) as process:
        process.send_signal(number)
        out, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (143, "error: terminated by a signal before it had finished\n")
    found = re.search(r"ends early: sent (\d+) lines, acknowledged (\d+)", out)
    assert found
    assert found[1] == found[2]
    assert len(records_of(kafka, topic)) == int(found[1]) > 0


def test_an_unknown_broker_is_one_line_within_30_seconds(log: Path, topic: str) -> None:
    started = time.monotonic()
    done = produce("batch", "127.0.0.1:1", log, topic)
    assert done.returncode == 1
    assert time.monotonic() - started < 30
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no Kafka broker answers at 127.0.0.1:1")
    assert "--kafka-brokers" in line


@pytest.mark.parametrize("brokers", ["no-such-host.invalid:9092", "127.0.0.1:port", ""])
def test_an_invalid_broker_address_is_one_line(brokers: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_module, "CONNECT_SECONDS", 1)
    with pytest.raises(JobError, match="no Kafka broker answers at"):
        Sender(brokers, topic, Declared())


def settings_of(kafka: str, topic: str) -> dict[str, str]:
    """The settings that a topic was given."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])["topic"][topic]
        return {name: setting["value"] for name, setting in found.items()}
    finally:
        admin.close()


def test_the_topics_are_created_as_they_are_declared(
    kafka: str, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = Declared(retention_days=2)
    for _ in range(2):
        with Sender(kafka, topic, declared) as sender:
            sender.send([b"{}"], 0)
            sender.finish(1)
    assert settings_of(kafka, topic).items() >= declared.clicks.items()
    assert settings_of(kafka, progress_topic(topic)).items() >= declared.progress.items()
    assert {record.partition for record in records_of(kafka, topic)} <= set(range(PARTITIONS))
    assert capsys.readouterr().out.count("created topic ") == 2
    assert TOPIC == "tripclick.clicks"


def test_a_topics_lower_settings_are_raised_and_reported(
    kafka: str, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_topic(kafka, topic, PARTITIONS, {"retention.ms": "3600000"})
    make_topic(kafka, progress_topic(topic), 1, {"cleanup.policy": "compact,delete"})
    with Sender(kafka, topic, Declared()):
        pass
    said = capsys.readouterr().out
    before, after = "retention.ms=3600000, message.timestamp.type=CreateTime", "retention.ms=604800000, message.timest"
    assert f"topic {topic} had {before}: set {after}amp.type=LogAppendTime" in said
    assert f"topic {topic}.progress had cleanup.policy=compact,delete: set cleanup.policy=compact" in said
    assert settings_of(kafka, topic)["message.timestamp.type"] == "LogAppendTime"
    with Sender(kafka, topic, Declared()):
        pass
    assert capsys.readouterr().out == ""


def make_topic(kafka: str, topic: str, partitions: int, configs: dict[str, str] | None = None) -> None:
    """Make a topic that is not as the contract declares it."""
    options = {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.create_topics({topic: options}, wait_for_metadata=True)
    finally:
        admin.close()


def test_a_topic_that_only_a_person_can_correct_is_refused_with_the_command(kafka: str, topic: str) -> None:
    make_topic(kafka, topic, PARTITIONS, {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"})
    with pytest.raises(NonRetryableError) as refused:
        Sender(kafka, topic, Declared(replication=2))
    to = f"--bootstrap-server {kafka}"
    assert str(refused.value) == (
        f"topic {topic} has 1 replicas, --replication declares 2: the cluster has 1 brokers: start more, or lower "
        f"--replication; topic {topic} is compacted and would keep one click of each session: "
        f"kafka-configs.sh {to} --alter --topic {topic} --add-config cleanup.policy=delete"
    )


def test_a_topic_with_another_retention_is_used_and_reported(
    kafka: str, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"retention.ms": "-1", "retention.bytes": "1000000", "message.timestamp.type": "LogAppendTime"}
    make_topic(kafka, topic, PARTITIONS + 1, more)
    with Sender(kafka, topic, Declared()):
        pass
    said = capsys.readouterr().out
    assert f"warning: topic {topic} has {PARTITIONS + 1} partitions, the contract declares {PARTITIONS}" in said
    assert f"warning: topic {topic} keeps records forever, --retention-days declares less" in said
    assert f"warning: topic {topic} keeps at most 1000000 bytes per partition" in said
    assert said.count("\n") == 4, "the topic of progress was created"


def test_a_topic_that_cannot_be_made_is_reported(kafka: str, topic: str) -> None:
    with pytest.raises(JobError, match=rf"denies writing to {topic}: .*[Rr]eplication"):
        Sender(kafka, topic, Declared(replication=5))


def test_a_line_that_kafka_does_not_take_costs_no_other_line(kafka: str, topic: str) -> None:
    with Sender(kafka, topic, Declared()) as sender:
        sender.send([b"{}", b"x" * 2_000_000, b"{ }"], 0)
        with pytest.raises(JobError, match="1 lines are longer than Kafka accepts"):
            sender.finish(1)
    assert sorted(record.value for record in records_of(kafka, topic)) == [b"{ }", b"{}"]


def test_a_batch_sends_some_thousand_lines_a_second_in_bounded_memory(
    kafka: str, log: Path, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "MAX_WAITING", 3000)
    lines = (lines_of(log) * 40)[:20_000]
    most = 0
    with Sender(kafka, topic, Declared()) as sender:
        started = time.monotonic()
        for line in lines:
            sender.send([line], 0)
            most = max(most, sender.sent - sender.acknowledged)
        sender.finish(1)
        rate = len(lines) / (time.monotonic() - started)
    assert sender.acknowledged == len(lines)
    assert most <= 3000
    assert rate > 1500, "on a machine that other tests use too; alone it is several times as much"


def test_a_broker_that_restarts_loses_and_duplicates_no_line(mortal_kafka: KafkaBroker, topic: str) -> None:
    lines = [json.dumps({"SessionId": f"s{n % 50}", "n": n}).encode() for n in range(3000)]
    with Sender(mortal_kafka.address, topic, Declared()) as sender:
        for line in lines[:1500]:
            sender.send([line], 0)
        mortal_kafka.stop()
        restart = threading.Timer(3, mortal_kafka.start)
        restart.start()
        for line in lines[1500:]:
            sender.send([line], 0)
        sender.finish(1)
        restart.join()
    assert Counter(record.value for record in records_of(mortal_kafka.address, topic)) == Counter(lines)


def test_a_broker_that_stays_away_ends_a_run_with_what_was_lost_and_a_signal_another_with_143(
    mortal_kafka: KafkaBroker, log: Path, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "DELIVERY_SECONDS", 4)
    with (
        started_replay(mortal_kafka.address, log, topic) as replay,
        Sender(mortal_kafka.address, f"{topic}.sent", Declared()) as sender,
    ):
        sender.send([b"{}"], 0)
        sender.flush()
        mortal_kafka.stop()
        for _ in range(10):
            sender.send([b"{}"], 0)
        started = time.monotonic()
        with pytest.raises(
            JobError, match=r"10 of 11 lines were not acknowledged by Kafka \(.+\): see that the broker"
        ):
            sender.flush()
        with pytest.raises(JobError, match="were not acknowledged"):
            sender.finish(1)
        assert time.monotonic() - started < 20

        replay.send_signal(signal.SIGTERM)
        out, error = replay.communicate(timeout=30)
    assert (replay.returncode, error) == (143, "error: terminated by a signal before it had finished\n")
    assert "ends early: sent" in out
