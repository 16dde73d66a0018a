"""One writer per table on S3: the lease by conditional writes, and the jobs by spark-submit, against a real service."""

from __future__ import annotations

import re
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from py4j.protocol import Py4JJavaError

from jobs.errors import JobError
from jobs.event import PARTITIONS
from jobs.known_errors import infrastructure_error
from jobs.spark import analytics_mart_etl, streaming_curated
from jobs.spark import lease as lease_module
from jobs.spark.lease import Lease
from jobs.spark.lease_files import HadoopFiles
from jobs.spark.mart import Mart
from jobs.spark.one_writer import one_writer
from jobs.spark.writer import append
from tests.faults.chain import Driver, driving
from tests.integration.jobs.spark.lake import Lake, line
from tests.leases import TABLE, abandoned, check_that_a_zombie_is_fenced, lease_in
from tests.s3_proxy import Request, proxy
from tests.s3_service import BUCKET, S3Service
from tests.secret_search import Secrets

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration

RACERS = 8
RECORDS = 120
ROOT = f"s3a://{BUCKET}"


@pytest.fixture
def files(on_s3: SparkSession) -> HadoopFiles:
    """The files of a new lease."""
    return HadoopFiles(on_s3, f"{ROOT}/{uuid.uuid4().hex}/_writer")


def test_files_are_made_once_and_whole(files: HadoopFiles) -> None:
    assert (files.names(), files.read("1")) == ([], None)
    assert files.create("1", b"first")
    assert not files.create("1", b"second")
    assert (files.names(), files.read("1")) == (["1"], b"first")
    files.delete("1")
    files.delete("1")
    assert files.names() == []


@pytest.mark.parametrize("before", ["nothing", "released", "left"])
def test_of_many_that_race_one_wins_and_the_others_hear_its_name(
    files: HadoopFiles, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.setattr(lease_module, "EXPIRES_S", 1.0)  # the winner renews as soon as it is there
    monkeypatch.setattr(lease_module, "RENEW_S", 0.1)
    if before == "released":
        abandoned(files, released=True)
    if before == "left":
        abandoned(files)
    start = threading.Barrier(RACERS)
    won: list[Lease] = []
    refused: list[str] = []

    def race(number: int) -> None:
        lease = lease_in(files, f"job {number}")
        start.wait()
        try:
            lease.take()
        except JobError as error:
            refused.append(str(error))
        else:
            won.append(lease)

    racers = [threading.Thread(target=race, args=(number,)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    for lease in won:
        lease.release()
    (winner,) = won
    assert len(refused) == RACERS - 1
    assert all(f"{TABLE} is being written by {winner.state.holder}: wait" in message for message in refused)


def test_zombie_is_fenced(files: HadoopFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_a_zombie_is_fenced(files, monkeypatch)


@pytest.mark.parametrize(
    ("bucket", "message"),
    [
        ("wrong-id", "correct the login of the S3 connection"),
        ("wrong-secret", "correct the password of the S3 connection"),
        ("no-bucket", "there is no such bucket: create it, or correct the variable that holds the path"),
    ],
)
def test_what_is_wrong_with_key_or_bucket_is_reported_with_its_fix(
    on_s3: SparkSession, bucket: str, message: str
) -> None:
    with (
        pytest.raises(JobError, match=f"cannot take the lease of s3a://{bucket}/clicks: .*{message}$"),
        one_writer(on_s3, f"s3a://{bucket}/clicks"),
    ):
        pass


def test_wrong_key_of_a_job_that_only_reads_is_reported_with_its_fix(on_s3: SparkSession) -> None:
    with pytest.raises(Py4JJavaError) as raised:
        Mart(on_s3, "s3a://wrong-secret/mart").written()
    assert "correct the key of the S3 connection" in str(infrastructure_error(raised.value))


class Disturbance:
    """What happens to the first PUT of one version of a table's log: it is held, or its answer is lost."""

    def __init__(self, version: int, *, holds: bool) -> None:
        self.holds, self.file = holds, f"{version:020}.json"
        self.seen: list[Request] = []
        self.is_held, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, request: Request) -> bool:
        if request.method != "PUT" or not request.path.partition("?")[0].endswith(self.file):
            return True
        self.seen.append(request)
        if self.holds and len(self.seen) == 1:
            self.is_held.set()
            assert self.goes_on.wait(60)
        return self.holds or len(self.seen) > 1


@contextmanager
def disturbed(spark: SparkSession, s3: S3Service, rule: Disturbance) -> Iterator[str]:
    """The path of a table with one row, whose requests a proxy disturbs."""
    bucket = f"disturbed-{uuid.uuid4().hex}"
    with s3.client() as client:
        client.create_bucket(Bucket=bucket)
    with proxy(s3.address.removeprefix("http://"), rule) as address:
        names = {f"fs.s3a.bucket.{bucket}.endpoint": address, f"fs.s3a.bucket.{bucket}.attempts.maximum": "3"}
        for name, value in names.items():
            spark.conf.set(name, value)
        try:
            append(spark.range(1), f"s3a://{bucket}/table")
            yield f"s3a://{bucket}/table"
        finally:
            for name in names:
                spark.conf.unset(name)


def _ids(spark: SparkSession, path: str) -> list[int]:
    return sorted(row.id for row in spark.read.format("delta").load(path).collect())


def test_commit_that_is_under_way_while_another_one_is_made_replaces_nothing(
    on_s3: SparkSession, s3: S3Service
) -> None:
    rule = Disturbance(1, holds=True)
    with disturbed(on_s3, s3, rule) as path, ThreadPoolExecutor(1) as threads:
        first = threads.submit(append, on_s3.range(1, 2), path)
        assert rule.is_held.wait(60)
        append(on_s3.range(2, 3), path)
        rule.goes_on.set()
        with pytest.raises(Exception, match="another job has made this version") as refused:
            first.result(60)
        assert "run it again" in str(infrastructure_error(refused.value))
        assert _ids(on_s3, path) == [0, 2]
    assert all(request.is_conditional for request in rule.seen)


def test_commit_whose_answer_is_lost_is_made_once(on_s3: SparkSession, s3: S3Service) -> None:
    rule = Disturbance(1, holds=False)
    with disturbed(on_s3, s3, rule) as path:
        once = {"txnAppId": "stream", "txnVersion": "1"}
        append(on_s3.range(1, 2), path, None, **once)
        assert len(rule.seen) == 2, "the client has not sent it again"
        append(on_s3.range(1, 2), path, None, **once)
        assert _ids(on_s3, path) == [0, 1]


class Curated:
    """Kafka → curated stream on S3."""

    def __init__(self, lake: Lake) -> None:
        self.root = lake.root
        kafka = ["--kafka-brokers", lake.brokers, "--topic", lake.topic, "--until-caught-up", "true"]
        self.words = [*kafka, "--curated-path", f"{ROOT}/curated", "--checkpoint-path", f"{ROOT}/checkpoints"]

    def run(self) -> None:
        """In this process, to its end."""
        streaming_curated.run(streaming_curated.parser().parse_args(self.words))

    def start(self, s3: S3Service) -> AbstractContextManager[Driver]:
        """By spark-submit, with the key from the environment, in batches of 60; it does not outlive the block."""
        words = ["streaming_curated", "--records-per-batch", "60", "--", *self.words]
        return driving(words, self.root / "driver.log", s3.spark_environment(self.root))


def test_jobs_on_an_empty_bucket_one_at_a_time(on_s3: SparkSession, kafka: str, s3: S3Service, tmp_path: Path) -> None:
    lake = Lake(on_s3, kafka, tmp_path)
    lake.send([line(number) for number in range(RECORDS)])
    curated = Curated(lake)

    with curated.start(s3) as killed:
        assert killed.works(sign="batch 0: read"), killed.said
        killed.end(signal.SIGSTOP)
        holder = f"{ROOT}/curated/clicks is being written by streaming_curated, process {killed.process.pid} of "
        with pytest.raises(JobError, match=re.escape(holder)):
            curated.run()
        killed.end(signal.SIGKILL)
        killed.wait()
    assert 0 < on_s3.read.format("delta").load(f"{ROOT}/curated/clicks").count() < RECORDS, killed.said
    assert Secrets({"secret key": s3.key["AWS_SECRET_ACCESS_KEY"]}).found([("log", killed.log.read_bytes())]) == []
    curated.run()
    rows = on_s3.read.format("delta").load(f"{ROOT}/curated/clicks").select("partition", "offset").collect()
    assert sorted(map(tuple, rows)) == [
        (partition, offset) for partition in range(PARTITIONS) for offset in range(RECORDS // PARTITIONS)
    ]

    etl = ["--curated-path", f"{ROOT}/curated", "--mart-path", f"{ROOT}/mart"]
    analytics_mart_etl.run(analytics_mart_etl.parser().parse_args(etl))
    days = on_s3.read.format("delta").load(f"{ROOT}/mart/daily_traffic").collect()
    assert sum(day.total_events for day in days) == RECORDS
