"""Kafka → curated stream and raw archive, with a real broker: nothing lost, nothing double, whatever happens."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from pyspark.errors.exceptions.captured import convert_exception

from jobs.errors import JobError, NonRetryableError, Terminated
from jobs.event import SHIFT_HEADER, event_id
from jobs.spark import archive_raw, kafka_records, streaming, streaming_curated, upkeep, writer
from jobs.spark import one_writer as one_writer_module
from jobs.spark.delta_log import CHANGE_FEED, newest
from jobs.spark.jvm import jvm_of
from jobs.spark.kafka_records import archived_records
from jobs.spark.kafka_required import require_broker, require_topic
from jobs.spark.one_writer import one_writer
from jobs.spark.session import shuffle_like
from jobs.spark.streaming import Limits, run_rounds
from jobs.spark.upkeep import compact

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
from tests.integration.jobs.spark.lake import BROKEN, Lake, line

pytestmark = pytest.mark.integration


@pytest.fixture
def lake(spark: SparkSession, kafka: str, tmp_path: Path) -> Lake:
    return Lake(spark, kafka, tmp_path)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_records, "MAX_RECORDS_PER_BATCH", 6)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A table's path for each time that records are compared with what it holds."""
    paths: list[str] = []
    missing = writer.missing

    def noted(rows: DataFrame, *tables: str) -> DataFrame:
        paths.extend(tables)
        return missing(rows, *tables)

    for module in (archive_raw, streaming_curated, writer):
        monkeypatch.setattr(module, "missing", noted)
    return paths


def test_each_record_is_a_click_or_in_quarantine(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    lake.send([line(0), line(1), BROKEN, line(0)])
    lake.run(lake.curated())
    assert "batch 0: read 4, kept 3, quarantined 1 (not_json 1), newest record " in capsys.readouterr().out
    clicks, quarantined = lake.rows("clicks"), lake.rows("quarantine")
    assert sorted(row.event_id for row in clicks) == sorted(event_id(line(n), 604800000) for n in (0, 0, 1))
    assert [(bytes(row.value), bytes(row.key), row.reason, row.topic, row.partition, row.offset, row.shift_ms)
            for row in quarantined] == [(BROKEN, b"k", "not_json", lake.topic, 2, 0, 604800000)]  # fmt: skip


def test_no_time_that_a_producer_makes_up_stops_a_stream(lake: Lake) -> None:
    for number, timestamp_ms in enumerate((0, -(10**15), -(10**17))):
        lake.send([line(number)], timestamp_ms)
    lake.run(lake.curated())
    lake.run(lake.archive(), "archive_ck")
    assert [len(lake.rows(table)) for table in ("clicks", "archive")] == [3, 3]
    admin = KafkaAdminClient(bootstrap_servers=lake.brokers)
    by_producers = {"message.timestamp.type": "CreateTime"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, lake.topic, by_producers)])
    admin.close()
    lake.send([line(3)], -(10**17))
    with pytest.raises(
        NonRetryableError, match=r"an impossible timestamp.*kafka-delete-records\.sh.*/archive_ck; then"
    ):
        lake.run(lake.archive(), "archive_ck")


def test_second_run_reads_only_what_is_new(lake: Lake) -> None:
    lake.send([line(0)])
    lake.run(lake.curated())
    lake.run(again := lake.curated())
    assert again.seen.read == 0
    lake.send([line(1)])
    lake.run(third := lake.curated())
    assert third.seen.read == 1
    assert len(lake.rows("clicks")) == 2


def test_batch_that_died_after_writing_is_not_written_twice(lake: Lake) -> None:
    lake.send([line(0), BROKEN])
    writer = lake.curated()

    def dies(batch: DataFrame, batch_id: int) -> None:
        writer(batch, batch_id)
        raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"):
        lake.run(dies)
    lake.send([line(1)])
    lake.run(lake.curated())
    assert [row.document_id for row in lake.rows("clicks")] == [1, 2]
    assert len(lake.rows("quarantine")) == 1
    version = newest(lake.spark, str(lake.root / "clicks")).version
    lake.send([BROKEN])
    with pytest.raises(OSError, match="power cut"):
        lake.run(dies)
    lake.run(lake.curated())
    assert len(lake.rows("quarantine")) == 2
    # A new version without a new click would wake the readers.
    assert newest(lake.spark, str(lake.root / "clicks")).version == version


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("receiver", ["python", "jvm"])
def test_signal_ends_between_batches(lake: Lake, receiver: str) -> None:
    lake.send([line(number) for number in range(18)])
    writer = lake.curated()

    def signalled(batch: DataFrame, batch_id: int) -> None:
        send_signal(lake.spark, receiver)
        writer(batch, batch_id)

    with pytest.raises(Terminated):
        lake.run(signalled)
    assert len(lake.rows("clicks")) == 6
    lake.run(lake.curated())
    assert sorted(row.document_id for row in lake.rows("clicks")) == list(range(1, 19))


def send_signal(spark: SparkSession, receiver: str) -> None:
    if receiver == "python":
        os.kill(os.getpid(), signal.SIGTERM)
        return
    jvm = jvm_of(spark)
    getattr(jvm.sun.misc.Signal, "raise")(jvm.sun.misc.Signal("TERM"))


@pytest.mark.usefixtures("small_batches")
def test_time_over_before_caught_up_is_an_error(lake: Lake) -> None:
    lake.send([line(number) for number in range(12)])
    with pytest.raises(JobError, match="not caught up"):
        lake.run(lake.curated(), minutes=0.0001)
    lake.run(lake.curated())
    assert len(lake.rows("clicks")) == 12


def test_batches_are_bounded_in_bytes_too(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kafka_records, "MAX_BYTES_PER_BATCH", 4 * len(line(0)))
    lake.send([line(number) for number in range(9)])
    lake.run(lake.archive())
    assert re.findall(r"batch \d: read (\d)", capsys.readouterr().out) == ["3", "3", "3"]


def test_flood_of_bad_records_is_stored_and_then_refused(lake: Lake) -> None:
    lake.send([line(0), *[BROKEN] * 60])
    lake.run(lake.curated(max_bad_share=0.05))
    assert (len(lake.rows("clicks")), len(lake.rows("quarantine"))) == (1, 60)

    def judged(max_bad_share: float) -> None:
        lake.run(writer := lake.curated(max_bad_share))
        writer.refuse_a_flood(lake.spark)

    for _ in range(2):  # a retry reads nothing, and says the same
        with pytest.raises(NonRetryableError, match=r"60 of 61 records are bad, .* not_json: partition 0 offset 1"):
            judged(max_bad_share=0.05)
    judged(max_bad_share=1)
    judged(max_bad_share=0.05)


@pytest.mark.parametrize(
    ("java", "said"),
    [
        ("org.apache.kafka.common.errors.TimeoutException", "Kafka stopped answering"),
        ("java.util.ConcurrentModificationException", "another job is writing the same table or checkpoint /ck"),
        ("org.apache.hadoop.fs.s3a.AWSApiCallTimeoutException", "S3 does not answer"),
        ("java.net.SocketTimeoutException", None),
    ],
)
def test_an_error_of_java_is_known_by_the_class_of_what_caused_it(
    spark: SparkSession, java: str, said: str | None
) -> None:
    jvm = jvm_of(spark)
    made = getattr(jvm, java)
    cause = made("a", jvm.java.lang.Exception("b")) if "hadoop" in java else made("a")
    wrapped = jvm.java.lang.RuntimeException("Job aborted", jvm.java.util.concurrent.ExecutionException(cause))
    error = convert_exception(wrapped)
    explained = streaming._explained(error, "/ck")
    assert explained is error if said is None else str(explained).startswith(said), explained


def test_archive_holds_every_record_as_it_came(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    lake.send([line(0), BROKEN, b"\xff\x00"])
    lake.run(lake.archive())
    assert "batch 0: read 3, archived 3, took " in capsys.readouterr().out
    rows = lake.rows("archive")
    assert [bytes(row.value) for row in rows] == [line(0), BROKEN, b"\xff\x00"]
    assert {(bytes(row.key), row.headers[0].key, bytes(row.headers[0].value)) for row in rows} == {
        (b"k", SHIFT_HEADER, b"604800000")
    }


def test_archive_is_idempotent_without_its_checkpoint(lake: Lake) -> None:
    lake.send([line(0), line(1)])
    lake.run(lake.archive())
    lake.send([line(2)])
    lake.run(again := lake.archive(), checkpoint="another")
    assert (again.read, again.written) == (3, 1)
    assert len(lake.rows("archive")) == 3


def test_stream_compares_nothing_with_a_table_that_it_alone_writes_and_few_clicks_are_one_file(
    lake: Lake, compared: list[str]
) -> None:
    for _ in range(2):
        lake.send([line(0), line(1), line(2), BROKEN])  # from all partitions
        lake.run(lake.curated())
        lake.run(lake.archive(), "archive_ck")
    assert compared == []
    assert [len(lake.rows(table)) for table in ("clicks", "quarantine", "archive")] == [6, 2, 8]
    assert len(lake.spark.read.format("delta").load(str(lake.root / "clicks")).inputFiles()) == 2


@pytest.mark.usefixtures("small_batches")
def test_new_checkpoint_compares_until_it_has_caught_up_even_when_it_dies_meanwhile(
    lake: Lake, compared: list[str]
) -> None:
    lake.send([line(number) for number in range(12)])
    lake.run(lake.curated())
    writer = lake.curated()

    def dies(batch: DataFrame, batch_id: int) -> None:
        writer(batch, batch_id)
        raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"):
        lake.run(dies, "another")
    lake.send([line(12), BROKEN])
    lake.run(lake.curated(), "another")
    assert [len(lake.rows(table)) for table in ("clicks", "quarantine")] == [13, 1]
    assert compared
    compared.clear()
    lake.send([line(13)])
    lake.run(lake.curated(), "another")
    assert compared == []
    assert len(lake.rows("clicks")) == 14
    lake.run(lake.curated())  # the first one again, of which the other knows nothing
    lake.send([line(14)])
    lake.run(lake.curated(), "another")
    assert sorted(row.document_id for row in lake.rows("clicks")) == list(range(1, 16))


def test_checkpoints_of_kafka_and_of_the_archive_take_turns(lake: Lake, tmp_path: Path) -> None:
    for number in range(2):
        lake.send([line(number), BROKEN])
        lake.run(lake.archive(), "archive_ck")
        stream = archived_records(lake.spark, str(tmp_path / "archive"), lake.topic)
        lake.read(stream, lake.curated(), "ck_from_archive")
        lake.run(lake.curated())
        assert [len(lake.rows(table)) for table in ("clicks", "quarantine")] == [number + 1, number + 1]


def test_table_of_an_earlier_version_keeps_its_folders_and_notes_its_changes(lake: Lake, tmp_path: Path) -> None:
    lake.send([line(0)])
    lake.run(lake.curated())
    old = lake.spark.read.format("delta").load(str(tmp_path / "clicks"))
    old.write.format("delta").partitionBy("event_date").save(str(tmp_path / "old" / "clicks"))
    shutil.rmtree(tmp_path / "clicks")
    (tmp_path / "old" / "clicks").rename(tmp_path / "clicks")
    lake.send([line(1)])
    lake.run(lake.curated())
    assert sorted(row.document_id for row in lake.rows("clicks")) == [1, 2]
    (details,) = lake.spark.sql(f"DESCRIBE DETAIL delta.`{tmp_path / 'clicks'}`").collect()
    assert details.partitionColumns == ["event_date"]
    assert details.properties[CHANGE_FEED] == "true"


def test_second_writer_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    with one_writer(spark, f"{tmp_path}/clicks"):
        with (
            pytest.raises(JobError, match="is being written by tests, process"),
            one_writer(spark, f"{tmp_path}/clicks/"),
        ):
            pass
        with one_writer(spark, f"{tmp_path}/other"):
            pass
        spark.range(3).write.format("delta").save(f"{tmp_path}/clicks")
        assert spark.read.format("delta").load(f"{tmp_path}/clicks").count() == 3
    with one_writer(spark, f"{tmp_path}/clicks"):
        pass


def test_zombie_whose_lease_was_taken_over_commits_nothing(lake: Lake, tmp_path: Path) -> None:
    lake.send([line(0)])
    lake.run(lake.curated())
    lake.send([line(1)])
    writer = lake.curated()

    def hangs(batch: DataFrame, batch_id: int) -> None:
        (lease,) = one_writer_module._leases
        assert lease.files.create(f"{lease._number + 1:012}", b"another one's")
        lease._renewed -= 3600
        writer(batch, batch_id)

    with pytest.raises(JobError, match="another job may be writing it"), one_writer(lake.spark, f"{tmp_path}/clicks"):
        lake.run(hangs)
    assert len(lake.rows("clicks")) == 1
    assert lake.rows("quarantine") == []


def test_many_small_files_are_compacted(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "table")
    shuffle_like(spark.range(1))  # as the job's own session has it, not as a long history before this test wanted it
    spark.range(100).repartition(4).write.format("delta").save(path)
    assert not compact(spark, path)
    monkeypatch.setattr(upkeep, "COMPACT_FROM", 3)
    spark.sparkContext.setJobGroup(path, "to be counted")
    compact(spark, path)
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]  # none again
    assert most_tasks(spark, path) < 10  # a vacuum would list the folders by 10,000
    table = spark.read.format("delta").load(path)
    assert len(table.inputFiles()) == 1
    assert table.count() == 100
    compact(spark, str(tmp_path / "no table"))


def most_tasks(spark: SparkSession, group: str) -> int:
    """Of a stage of these jobs."""
    tracker = spark.sparkContext.statusTracker()
    jobs = filter(None, map(tracker.getJobInfo, tracker.getJobIdsForGroup(group)))
    stages = filter(None, (tracker.getStageInfo(stage) for job in jobs for stage in job.stageIds))
    return max(stage.numTasks for stage in stages)


def test_large_files_are_left_as_they_are(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "table")
    spark.range(100_000).coalesce(1).write.format("delta").save(path)
    (large,) = spark.read.format("delta").load(path).inputFiles()
    spark.range(100).repartition(3).write.format("delta").mode("append").save(path)
    monkeypatch.setattr(upkeep, "COMPACT_FROM", 2)
    monkeypatch.setattr(upkeep, "SMALL_FILE", 100_000)
    assert compact(spark, path)
    files = spark.read.format("delta").load(path).inputFiles()
    assert len(files) == 2
    assert large in files
    assert not compact(spark, path)


def test_missing_topic_says_what_creates_it(spark: SparkSession, kafka: str) -> None:
    with pytest.raises(JobError, match="run a producer first"):
        require_topic(spark, kafka, "no.such.topic")


@pytest.mark.parametrize("brokers", ["127.0.0.1:1", "127.0.0.1", "", "127.0.0.1:99999", "127.0.0.1:1,127.0.0.1:2"])
def test_unknown_broker_is_one_line(brokers: str) -> None:
    with pytest.raises(JobError, match="--kafka-brokers"):
        require_broker(brokers)


def test_a_job_that_meets_no_broker_says_one_line_and_ends_with_1(
    tmp_path: Path, spark_submit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    paths = ("--archive-path", str(tmp_path), "--checkpoint-path", str(tmp_path))
    done = spark_submit("archive_raw", "--kafka-brokers", "127.0.0.1:1", *paths, limit=60)
    assert done.returncode == 1
    (error,) = [text for text in done.stdout.splitlines() if text.startswith("error: ")]
    assert "Kafka does not answer: 127.0.0.1:1" in error
    assert "Traceback" not in done.stdout + done.stderr


def test_lost_curated_stream_is_rebuilt_from_the_archive(lake: Lake, tmp_path: Path) -> None:
    lake.send([line(1), BROKEN, line(2), line(3)])
    lake.run(lake.archive(), "archive_ck")
    lake.run(lake.curated())
    before = {table: lake.rows(table) for table in ("clicks", "quarantine")}
    shutil.rmtree(tmp_path / "clicks")
    shutil.rmtree(tmp_path / "quarantine")
    stream = archived_records(lake.spark, str(tmp_path / "archive"), lake.topic)
    run_rounds(stream, lake.curated(), str(tmp_path / "ck_from_archive"), Limits())
    assert lake.rows("clicks") == before["clicks"]
    assert [row.value for row in lake.rows("quarantine")] == [BROKEN]


def test_archive_of_another_topic_or_none_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="run archive_raw first"):
        archived_records(lake.spark, str(tmp_path / "archive"), lake.topic)
    lake.send([line(1)])
    lake.run(lake.archive(), "archive_ck")
    stream = archived_records(lake.spark, str(tmp_path / "archive"), "another")
    run_rounds(stream, lake.curated(), str(tmp_path / "ck"), Limits())
    assert lake.rows("clicks") == []
