"""Runs stories: the project's modules with a simulated clock, servers and session in place of the real ones."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pyspark.sql
import pytest

from jobs.spark.lease import Lease
from tests.simulation import hot, producer, spark, stream, swap
from tests.simulation.world import Event, RLock, SimulatedThreading, SimulatedTime, World

TIMED = (
    "jobs.spark.lease", "jobs.spark.streaming", "jobs.spark.streaming_curated", "jobs.spark.archive_raw",
    "jobs.producer.sender", "jobs.producer.progress", "jobs.spark.hot_stream", "jobs.spark.mart",
    "jobs.spark.mart_load",
)  # fmt: skip
SAYING = (
    *TIMED, "jobs.spark.one_writer", "jobs.spark.quarantine_replay", "jobs.producer.replay",
)  # fmt: skip
KINDS: dict[str, Any] = {"stream": stream.Lake, "producer": producer.Sending, "hot": hot.Following, "swap": swap.Marts}


class SimulatedLease(Lease):
    """A Lease, whose class made its lock and its event before they could be replaced."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self._lock, self._ended = RLock(), Event()  # type: ignore[assignment]


class Leases:
    """one_writer._leases, of the running process."""

    @staticmethod
    def _own() -> list[Any]:
        return World.now_running.task.process.leases

    def append(self, lease: Lease) -> None:
        self._own().append(lease)

    def remove(self, lease: Lease) -> None:
        self._own().remove(lease)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._own())


def _identity(pid: int) -> str:
    return f"{World.now_running.task.process.host.name} space {pid} {pid}"


def _start(pid: int) -> str:
    if all(process.dead or process.pid != pid for process in World.now_running.processes):
        raise FileNotFoundError
    return str(pid)


@contextmanager
def installed() -> Iterator[pytest.MonkeyPatch]:
    """The simulated parts in their places."""
    with pytest.MonkeyPatch.context() as patch:
        for name in TIMED:
            module = importlib.import_module(name)
            for part, stand_in in {"time": SimulatedTime, "threading": SimulatedThreading}.items():
                if hasattr(module, part):
                    patch.setattr(module, part, stand_in)
        for name in SAYING:
            patch.setattr(f"{name}.say", lambda text: World.now_running.tell(f"says: {text}"))
        patch.setattr("jobs.spark.lease.LOOK_S", 15.0)
        patch.setattr("jobs.spark.lease._identity", _identity)
        patch.setattr("jobs.spark.lease._start", _start)
        patch.setattr("jobs.spark.lease.uuid", SimpleNamespace(uuid4=_uuid4))
        patch.setattr("jobs.spark.one_writer.Lease", SimulatedLease)
        patch.setattr("jobs.spark.one_writer._leases", Leases())
        for name in ("archive_raw", "mart", "writer"):
            patch.setattr(f"jobs.spark.{name}.commits", spark.commits)
        patch.setattr("jobs.spark.streaming._signals", lambda *_: nullcontext())
        patch.setattr("jobs.spark.archive_raw.rows", lambda batch: batch)
        patch.setattr("jobs.spark.quarantine_replay.records", lambda frame: frame.dropDuplicates(None))
        for name in ("check", "clicks", "invalid", "quarantine", "summary"):
            patch.setattr(f"jobs.spark.events.{name}", getattr(stream.Events, name))
        patch.setattr(pyspark.sql, "functions", spark.Functions)
        parts: dict[str, object] = {
            "connected": lambda *_: producer.Admin(), "ensure_topics": producer.topics,
            "_producer": producer.producer, "BLOCK_LINES": 2, "MAX_WAITING": 6, "NOTE_LINES": 3,
        }  # fmt: skip
        for name, value in parts.items():
            patch.setattr(f"jobs.producer.sender.{name}", value)
        for name in ("changes", "everything"):
            patch.setattr(f"jobs.spark.hot_source.{name}", getattr(hot, name))
        patch.setattr("jobs.spark.hot_marts.compute", hot.compute)
        patch.setattr("jobs.spark.hot_tables.upsert_rows", hot.upsert_rows)
        patch.setattr("jobs.spark.hot_tables.insert_rows", lambda *_: None)
        patch.setattr("jobs.spark.hot_tables._add_anomalies", lambda *_: 0)
        patch.setattr("jobs.spark.hot_stream.connect", hot.connect)
        patch.setattr("jobs.spark.mart._month", lambda _: None)
        patch.setattr("jobs.spark.mart._of_months", lambda places: " ".join(map(str, places)))
        patch.setattr("jobs.spark.mart_load.copy_rows", swap.copy_rows)
        patch.setattr("jobs.spark.mart_load.LakeRows.csv", swap.csv)
        patch.setattr("jobs.producer.progress.Consumer", producer.consumer)
        yield patch


def _uuid4() -> SimpleNamespace:
    return SimpleNamespace(hex=f"{World.now_running.chance.getrandbits(60):x}")


def story(kind: str, seed: int) -> list[str]:
    """All that happens under a seed; its last line says what was broken, if anything was."""
    world = World(seed, KINDS[kind].PLACES, tells=True)
    try:
        KINDS[kind](world).tell()
    except Exception as error:  # noqa: BLE001 (whatever it is, it is the story's end)
        world.tell(f"{type(error).__name__}: {error}")
    return world.story or []


def first_broken(kind: str, seeds: Iterable[int]) -> tuple[int, str] | None:
    """The first of these seeds under which a promise is broken, and which one that is."""
    for seed in seeds:
        try:
            KINDS[kind](World(seed, KINDS[kind].PLACES)).tell()
        except Exception as error:  # noqa: BLE001 (a job that ends red when nothing goes wrong breaks one as well)
            return seed, f"{type(error).__name__}: {error}"
    return None


def prepare() -> None:
    """For a process that only tells stories: what they leave behind is collected in few passes, the modules in none."""
    gc.freeze()
    gc.set_threshold(200_000)


def told(kind: str, seeds: range) -> str:
    """As `first_broken`, the whole story in words; empty when every promise is kept. For a process of its own."""
    with installed():
        if not (found := first_broken(kind, seeds)):
            return ""
        seed, promise = found
        return "\n".join([f"{kind} story {seed}: {promise}", *story(kind, seed)])
