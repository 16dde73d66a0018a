"""What the lake's own files say, without Spark: checkpoints, tallies, leases and the newest commits."""

from __future__ import annotations

import json
import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobs.metrics.sample import Sample, sample
from jobs.spark import analytics_mart_realtime, archive_raw, streaming_curated, tables
from jobs.spark.lease import State
from jobs.spark.one_writer import LEASE_FOLDER
from jobs.spark.tally import FOLDER as TALLY_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobs.metrics.kafka import Ends

ANSWER_SECONDS: Final = 5
STREAMS: Final = (streaming_curated.NAME, archive_raw.NAME)  # whose checkpoints have Kafka's offsets


class Paths(NamedTuple):
    """The lake's root folders."""

    curated: str
    archive: str
    mart: str
    checkpoint: str

    @property
    def clicks(self) -> str:
        """The folder of the curated table."""
        return tables.table_path(self.curated, tables.CLICKS)

    @property
    def leases(self) -> dict[str, str]:
        """The places that jobs hold a lease of, by name."""
        return {
            "curated_stream": self.clicks,
            "archive_raw": tables.table_path(self.archive, tables.ARCHIVE),
            "analytics_mart": self.mart,
            "search_marts": tables.table_path(self.mart, tables.SEARCH),
            "hot_tables": tables.table_path(self.checkpoint, analytics_mart_realtime.NAME),
        }


class Lake:
    """The lake's files, in folders or on S3; errors are OSErrors."""

    def __init__(self, paths: Paths, topic: str) -> None:
        self.paths, self.topic = paths, topic
        self._tally: dict[str, dict[str, Any]] = {}

    def ask(self, ends: Mapping[str, Ends], hot_version: int | None) -> Iterator[Sample]:
        """The samples; `ends` are Kafka's offsets by partition, `hot_version` is what the hot tables have."""
        for stream in STREAMS:
            yield from self._stream(stream, ends)
        yield from self._quarantined()
        for place, path in self.paths.leases.items():
            yield from self._lease(place, path)
        if hot_version is not None:
            yield sample("tripclick_hot_behind_seconds", self._waiting_since(hot_version))

    def _stream(self, stream: str, ends: Mapping[str, Ends]) -> Iterator[Sample]:
        """Of a stream's last complete batch: what offsets/N plans has been read once commits/N is there."""
        folder = tables.table_path(self.paths.checkpoint, stream)
        complete = {int(name): when for name, when in _files(f"{folder}/commits").items() if name.isdecimal()}
        if not complete:
            return
        last = max(complete)
        planned = _files(f"{folder}/offsets").get(str(last))
        content = _read(f"{folder}/offsets/{last}")
        if planned is None or content is None:  # an old one, just deleted
            return
        yield sample("tripclick_stream_batch_seconds", max(0.0, complete[last] - planned), stream=stream)
        yield sample("tripclick_stream_batch_end_timestamp_seconds", complete[last], stream=stream)
        read = json.loads(content.splitlines()[-1]).get(self.topic, {})
        for partition, offset in read.items():
            labels = {"stream": stream, "partition": partition}
            yield sample("tripclick_stream_read_offset", offset, **labels)
        for partition, there in ends.items():
            for metric, end in (("lag", there.end), ("overdue", there.overdue)):
                unread = max(0, end - read.get(partition, 0))
                yield sample(f"tripclick_stream_{metric}_records", unread, stream=stream, partition=partition)

    def _quarantined(self) -> Iterator[Sample]:
        folder = f"{self.paths.clicks}/{TALLY_FOLDER}"
        names = [name for name in _files(folder) if not name.startswith(".")]
        self._tally = {name: self._tally.get(name) or json.loads(_read(f"{folder}/{name}") or "{}") for name in names}
        for metric, key in (("tripclick_records_read", "read"), ("tripclick_records_quarantined", "bad")):
            yield sample(metric, sum(batch.get(key, 0) for batch in self._tally.values()))

    def _lease(self, place: str, path: str) -> Iterator[Sample]:
        folder = f"{path}/{LEASE_FOLDER}"
        newest = max((name for name in _files(folder) if name.isdecimal()), default=None)
        content = _read(f"{folder}/{newest}") if newest else None
        state = State.of(content) if content else None
        if state and not state.released:
            labels = {"place": place, "holder": state.holder}
            yield sample("tripclick_lease_renewed_timestamp_seconds", state.renewed, **labels)

    def _waiting_since(self, version: int) -> float:
        """For how many seconds the first commit with new clicks after this version has been there; 0 without one."""
        while content := _read(f"{self.paths.clicks}/_delta_log/{(version := version + 1):020}.json"):
            actions = [json.loads(line) for line in content.splitlines()]
            if any(action.get("add", {}).get("dataChange") for action in actions):  # not what compacted files
                (when,) = (int(action["commitInfo"]["timestamp"]) for action in actions if "commitInfo" in action)
                return max(0.0, time.time() - when / 1000)
        return 0.0


def _files(folder: str) -> dict[str, float]:
    """The names in a folder and when each file was written (epoch seconds); none if there is no folder."""
    from pyarrow.fs import FileSelector

    system, path = _system(folder)
    infos = system.get_file_info(FileSelector(path, allow_not_found=True))
    return {info.base_name: info.mtime_ns / 1e9 for info in infos if info.is_file}


def _read(file: str) -> bytes | None:
    system, path = _system(file)
    try:
        with system.open_input_file(path) as content:
            found: bytes = content.readall()
            return found
    except FileNotFoundError:
        return None


def _system(path: str) -> tuple[Any, str]:
    """The file system of a path, and the path there. On S3 key, region and address are the AWS_… variables'."""
    from pyarrow.fs import LocalFileSystem

    if path.startswith(("s3a://", "s3://")):
        return _s3(), path.partition("://")[2]
    return LocalFileSystem(), path.removeprefix("file://")


@cache
def _s3() -> Any:
    from pyarrow.fs import S3FileSystem

    # Arrow knows the other AWS_… variables itself.
    scheme, _, address = os.environ.get("AWS_ENDPOINT_URL", "https://").partition("://")
    there = {"scheme": scheme, "endpoint_override": address or None}
    return S3FileSystem(**there, connect_timeout=ANSWER_SECONDS, request_timeout=ANSWER_SECONDS)
