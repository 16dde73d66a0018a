"""Bad records of every kind, a recreated topic and one that dropped records."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewTopic

from jobs import arguments
from jobs.errors import JobError
from jobs.event import PARTITIONS, event_id
from jobs.generator.defects import INVALID, VALID, line_of
from jobs.generator.sessions import sessions_of
from jobs.spark import tables
from tests.clicks import REASONS
from tests.faults.chain import CURATED, ETL, LOAD, SHIFT_MS, Chain
from tests.faults.conftest import FULL, SPARK_FAULTS, Tell

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = SPARK_FAULTS

RECORDS, EVERY = (200_000, 100) if FULL else (1_600, 80)  # the last of EVERY records is bad
WAY_OUT = "To continue with what is left, delete "


def lines_with_defects(count: int, chance: random.Random) -> tuple[list[bytes], list[tuple[bytes, str]], Counter[str]]:
    """Log lines, of which every kind of defect has its part; the bad ones with the reason that is right; the kinds."""
    bad: list[tuple[bytes, str]] = []
    lines: list[bytes] = []
    kinds: Counter[str] = Counter()
    clicks = [
        click for session in sessions_of(arguments.day("2020-10-01"), 11, count / 1500) for click in session.clicks
    ]
    assert len(clicks) >= count
    at = chance.randrange(EVERY - 1)
    for number, click in enumerate(clicks[:count]):
        kinds_here = {EVERY - 1: list(INVALID), at: list(VALID)}.get(number % EVERY, [""])
        kind = kinds_here[number // EVERY % len(kinds_here)]  # each in turn: all of them happen
        line = (INVALID | VALID)[kind][1](click.record) if kind else line_of(click.record)
        kinds[kind] += 1
        lines.append(line)
        if kind in INVALID:
            bad.append((line, REASONS[kind]))
    return lines, bad, kinds


def test_every_bad_record_is_in_quarantine_for_the_right_reason_and_every_good_one_is_counted(
    spark: SparkSession, chain: Chain, chance: random.Random, tell: Tell
) -> None:
    lines, bad, kinds = lines_with_defects(RECORDS, chance)
    chain.send(lines)
    for job in (CURATED, ETL, LOAD):
        chain.run(job)
    quarantine = spark.read.format("delta").load(str(chain.root / "curated" / tables.QUARANTINE))
    found = [(bytes(row.value), row.reason) for row in quarantine.select("value", "reason").collect()]
    wrong = Counter(reason for _, reason in found)
    tell(f"{len(lines):,} records, {len(bad):,} bad: {dict(wrong)}; of each kind {dict(sorted(kinds.items()))}")
    assert set(kinds) == {"", *INVALID, *VALID}, "a kind of defect did not happen"
    assert sorted(found) == sorted(bad)
    clicks = spark.read.format("delta").load(str(chain.root / "curated" / tables.CLICKS))
    values = [value for value, _ in bad]
    good = sorted(event_id(line, SHIFT_MS) for line in lines if line not in set(values))
    assert sorted(row.event_id for row in clicks.select("event_id").collect()) == good
    assert chain.rows("SELECT sum(total_events) FROM daily_traffic") == [(len(set(good)),)]
    assert chain.rows("SELECT sum(quarantined_count) FROM daily_traffic") == [(len(bad),)]


def test_records_that_kafka_dropped_before_they_were_read_are_refused(
    chain: Chain, chance: random.Random, tell: Tell
) -> None:
    lines = lines_with_defects(900, chance)[0]
    chain.send(lines[:300])
    chain.run(CURATED)
    chain.send(lines[300:])
    admin = KafkaAdminClient(bootstrap_servers=chain.kafka.address)
    admin.delete_records({TopicPartition(chain.topic, number): -1 for number in range(PARTITIONS)})
    admin.close()
    with pytest.raises(JobError, match=WAY_OUT) as refused:
        chain.run(CURATED)
    tell(f"retention passed: {refused.value}")


def test_a_topic_that_was_recreated_is_refused(chain: Chain, chance: random.Random, tell: Tell) -> None:
    lines = lines_with_defects(700, chance)[0]
    chain.send(lines[:400])
    chain.run(CURATED)
    admin = KafkaAdminClient(bootstrap_servers=chain.kafka.address)
    admin.delete_topics([chain.topic])
    admin.create_topics([NewTopic(chain.topic, PARTITIONS, 1)])
    admin.close()
    for again in (lines[:10], lines[10:600]):  # fewer records than there were, and more
        chain.send(again)
        with pytest.raises(JobError, match=rf"was deleted and recreated.*{WAY_OUT}") as refused:
            chain.run(CURATED)
    tell(f"recreated topic: {refused.value}")
