"""A number for Prometheus, and its text format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

# All are gauges: what is counted here is read from its place each time, so nothing is lost with this process.
METRICS: Final = {
    "tripclick_source_up": "Whether Kafka, the lake and PostgreSQL answered this scrape: 1 or 0",
    "tripclick_replicas_short": "Partitions of a topic that have fewer in-sync replicas than replicas",
    "tripclick_stream_read_offset": "Records of a partition that a stream has read, up to its last complete batch",
    "tripclick_stream_lag_records": "Records of a partition that a stream has not read",
    "tripclick_stream_overdue_records": "Those of them that came more than 27 hours ago",
    "tripclick_stream_batch_seconds": "How long a stream's last complete micro-batch took",
    "tripclick_stream_batch_end_timestamp_seconds": "When it was complete",
    "tripclick_records_read": "Records that the curated stream has read since its last successful run",
    "tripclick_records_quarantined": "Those of them that were quarantined",
    "tripclick_lease_renewed_timestamp_seconds": "When the holder of a place of the lake last renewed its lease",
    "tripclick_table_written_timestamp_seconds": "When a table of PostgreSQL was last written",
    "tripclick_table_event_timestamp_seconds": "The newest event_ts that a table of PostgreSQL has seen",
    "tripclick_hot_behind_seconds": "How long curated clicks have been waiting for the hot tables; 0: none waits",
    "tripclick_missing_days": "Days of the last 30 without a click, in the view missing_days",
}


class Sample(NamedTuple):
    """A value of one of METRICS with its labels."""

    name: str
    value: float
    labels: dict[str, str]


def sample(name: str, value: float, **labels: str) -> Sample:
    """The same, the labels by their names."""
    return Sample(name, value, labels)


def text(samples: Iterable[Sample]) -> str:
    """The samples as Prometheus reads them, those of a metric together."""
    found: dict[str, list[str]] = {name: [] for name in METRICS}
    for name, value, labels in samples:
        pairs = ",".join(f'{key}="{_escaped(content)}"' for key, content in labels.items())
        found[name].append(f"{name}{{{pairs}}} {value:.15g}" if pairs else f"{name} {value:.15g}")
    parts = (
        [f"# HELP {name} {METRICS[name]}", f"# TYPE {name} gauge", *lines] for name, lines in found.items() if lines
    )
    return "".join(f"{line}\n" for part in parts for line in part)


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
