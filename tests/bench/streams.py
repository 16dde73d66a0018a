"""Kafka to the lake: the curated stream and the raw archive, a backlog at once, and again with nothing new."""

from __future__ import annotations

from tests.bench import process
from tests.bench.harness import Cost, Reach, Row
from tests.bench.lab import Lab
from tests.bench.starts import empty_job

STAGE = "streams"


def curated(lab: Lab) -> Cost:
    """The whole topic to a new curated stream."""
    lab.topic  # noqa: B018  sent before the clock runs
    lab.empty("curated")
    return _curated(lab)


def _curated(lab: Lab) -> Cost:
    folder = lab.last("curated")
    paths = [f"--curated-path={folder}", f"--checkpoint-path={folder / 'checkpoint'}"]
    return process.job("streaming_curated", *_source(lab), *paths, "--until-caught-up=true")


def archive(lab: Lab) -> Cost:
    """The whole topic to a new raw archive."""
    lab.topic  # noqa: B018
    lab.empty("archive")
    return _archive(lab)


def _archive(lab: Lab) -> Cost:
    folder = lab.last("archive")
    return process.job(
        "archive_raw", *_source(lab), f"--archive-path={folder}", f"--checkpoint-path={folder / 'checkpoint'}"
    )


def _curated_again(lab: Lab) -> Cost:
    if not lab.last("curated").exists():
        curated(lab)
    return _curated(lab)


def _archive_again(lab: Lab) -> Cost:
    if not lab.last("archive").exists():
        archive(lab)
    return _archive(lab)


def _source(lab: Lab) -> list[str]:
    return [f"--kafka-brokers={lab.kafka.address}", f"--topic={lab.topic}"]


def _curated_ceiling(lab: Lab) -> Cost:
    """Spark's own from_json of the same records, to a table of the same layout."""
    return process.script("topic_to_delta", "clicks", lab.kafka.address, lab.topic, str(lab.empty("ceiling")))


def _archive_ceiling(lab: Lab) -> Cost:
    """The same records as they are, to a table of the same layout, in one batch."""
    return process.script("topic_to_delta", "archive", lab.kafka.address, lab.topic, str(lab.empty("ceiling")))


ROWS = [
    Row("Kafka → curated, one backlog", STAGE, curated, _curated_ceiling, Reach("speed", 0.6)),
    Row("raw archive, one backlog", STAGE, archive, _archive_ceiling, Reach("speed", 0.7), short=True),
    Row("curated again, nothing new", STAGE, _curated_again, empty_job, Reach("times", 1.3)),
    Row("raw archive again, nothing new", STAGE, _archive_again, empty_job, Reach("times", 1.3)),
]
