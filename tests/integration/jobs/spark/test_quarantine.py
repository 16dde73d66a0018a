"""The quarantine: counted, listed, and replayed after a fix, each click once, whenever the replay is killed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs import contract
from jobs.contract import CONTRACT_VERSION, Click
from jobs.event import event_id
from jobs.spark import events, quarantine, quarantine_replay, streaming_curated, writer
from jobs.spark.contract_arrow import checked
from jobs.spark.delta_log import newest
from jobs.spark.quarantine import counts, excerpt
from jobs.spark.quarantine_removal import Place, Removal, remove
from jobs.spark.quarantine_replay import replay
from tests.integration.jobs.spark.lake import BROKEN, Lake, line

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.integration
SHIFT_MS = 604800000  # that Lake.send sets
BAD_NOW = [line(3), line(4)]


def too_strict() -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A contract that is wrong: it takes no document from 4 on. (A worker gets what is made here by value.)"""

    def by_it(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        right = contract.check  # in the worker

        def check(value: bytes | None, shift: bytes | None, kafka_ms: int) -> Click | str:
            click = right(value, shift, kafka_ms)
            return "bad_document_id" if isinstance(click, Click) and click.document_id >= 4 else click

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(contract, "check", check)
            yield from checked(batches)

    return by_it


def filled(lake: Lake) -> Lake:
    """Two clicks, two records that no contract takes, and two, one of them sent twice, that a fix will make valid."""
    lake.send([line(0), line(1), BROKEN, b"\x00\xff", *BAD_NOW, BAD_NOW[0]])
    with pytest.MonkeyPatch.context() as before_the_fix:
        before_the_fix.setattr(events, "checked_batches", too_strict())
        lake.run(lake.curated())
    assert (len(lake.rows("clicks")), len(lake.rows("quarantine"))) == (2, 5)
    return lake


@pytest.fixture
def lake(spark: SparkSession, kafka: str, tmp_path: Path) -> Lake:
    """A lake that a test sends more to, or reads again from Kafka."""
    return filled(Lake(spark, kafka, tmp_path))


@pytest.fixture(scope="module")
def filled_once(spark: SparkSession, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake to be read only."""
    return filled(Lake(spark, kafka, tmp_path_factory.mktemp("lake")))


@pytest.fixture
def tables(filled_once: Lake, tmp_path: Path) -> Lake:
    """A copy of its tables for each test, which leaves their topic alone."""
    lake = copy(filled_once)
    lake.root = shutil.copytree(filled_once.root, tmp_path, dirs_exist_ok=True)
    return lake


def ids(lake: Lake) -> list[str]:
    return sorted(row.event_id for row in lake.rows("clicks"))


def run_replay(lake: Lake) -> None:
    replay(lake.spark, str(lake.root / "clicks"), str(lake.root / "quarantine"))


def test_replay_moves_what_is_valid_now_once(tables: Lake) -> None:
    stay = [row for row in tables.rows("quarantine") if row.reason in {"not_json", "not_utf8"}]
    for _ in range(2):
        run_replay(tables)
        assert ids(tables) == sorted(event_id(value, SHIFT_MS) for value in [line(0), line(1), *BAD_NOW, BAD_NOW[0]])
        assert tables.rows("quarantine") == stay
    versions = tables.spark.sql(f"DESCRIBE HISTORY delta.`{tables.root / 'quarantine'}`").count()
    assert versions == 2  # the stream's batch and the first replay


@pytest.mark.parametrize("moment", ["before the clicks", "between the tables"])
def test_killed_replay_is_ended_by_the_next(tables: Lake, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    append: Callable[[DataFrame, str], int] = writer.append_missing

    def killed(rows: DataFrame, path: str) -> int:
        if moment == "between the tables":
            append(rows, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as first:
        first.setattr(quarantine_replay, "append_missing", killed)
        with pytest.raises(KeyboardInterrupt):
            run_replay(tables)
    assert len(tables.rows("quarantine")) == 5
    run_replay(tables)
    assert (len(ids(tables)), len(tables.rows("quarantine"))) == (5, 2)


def test_all_read_again_adds_nothing_to_either_table(lake: Lake) -> None:
    run_replay(lake)
    lake.run(lake.archive(), checkpoint="of the archive")
    clicks, bad, archive = (str(lake.root / table) for table in ("clicks", "quarantine", "archive"))
    remove(lake.spark, clicks, bad, archive, Removal(frozenset({Place(lake.topic, 0, 0)}), "kim", "not a person's"))
    versions = [newest(lake.spark, table).version for table in (clicks, bad)]
    lake.run(again := lake.curated(), checkpoint="lost, and recreated")
    assert again.seen.read == 7
    assert [newest(lake.spark, table).version for table in (clicks, bad)] == versions
    assert (len(ids(lake)), len(lake.rows("quarantine"))) == (4, 3)


def test_batch_that_died_before_its_clicks_and_a_replay_before_it_runs_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_once = writer.append_once

    def dies(rows: DataFrame, path: str, *rest: Any) -> None:
        if path.endswith("clicks"):
            raise OSError("power cut")
        append_once(rows, path, *rest)

    lake.send([line(2), line(5), line(6)])
    with monkeypatch.context() as before_the_fix:
        before_the_fix.setattr(events, "checked_batches", too_strict())
        before_the_fix.setattr(streaming_curated, "append_once", dies)
        with pytest.raises(OSError, match="power cut"):
            lake.run(lake.curated())
    assert (len(ids(lake)), len(lake.rows("quarantine"))) == (2, 7)
    run_replay(lake)
    lake.run(lake.curated())
    assert (len(ids(lake)), len(lake.rows("quarantine"))) == (8, 2)


def test_curated_stream_replays_it_first_when_asked_to(lake: Lake, kafka: str) -> None:
    lake.send([line(5)])
    options = ["--kafka-brokers", kafka, "--topic", lake.topic, "--until-caught-up", "true", "--max-bad-share", "1"]
    paths = ["--curated-path", str(lake.root), "--checkpoint-path", str(lake.root / "checkpoints")]
    streaming_curated.run(streaming_curated.parser().parse_args([*options, *paths, "--replay-quarantine", "true"]))
    assert (len(ids(lake)), len(lake.rows("quarantine"))) == (6, 2)


def test_counted_by_reason_day_and_contract(filled_once: Lake) -> None:
    found = counts(filled_once.spark.read.format("delta").load(str(filled_once.root / "quarantine"))).collect()
    assert {row.reason: (row.records, row.contract_version) for row in found} == {
        "bad_document_id": (3, CONTRACT_VERSION),
        "not_json": (1, CONTRACT_VERSION),
        "not_utf8": (1, CONTRACT_VERSION),
    }


def test_job_counts_and_lists_in_lines(filled_once: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("count", "list"):
        quarantine.run(quarantine.parser().parse_args(["--curated-path", str(filled_once.root), "--action", action]))
    out = capsys.readouterr().out
    assert f"bad_document_id: 3 (contract {CONTRACT_VERSION})" in out
    assert f"5 records in {filled_once.root}/quarantine" in out
    assert f"{filled_once.topic} partition 0 offset 1 not_utf8: \\x00\ufffd" in out
    assert len(out.splitlines()) == 3 + 1 + 5


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (b"a\nb\x00\x1b[31m", "a\\x0ab\\x00\\x1b[31m"), (b"x" * 101, "x" * 100 + "…"), ("né".encode(), "né")],
)
def test_excerpt_is_one_harmless_line(value: bytes | None, shown: str) -> None:
    assert excerpt(value) == shown
