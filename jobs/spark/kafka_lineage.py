"""Which of Kafka's offsets a run has read, as an event of OpenLineage.

openlineage-spark knows the topic, not the offsets, and cannot be given them: its last event may come when Spark's
session is gone. So the job itself sends one, by the transport that its host has set for openlineage-spark.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from jobs.console import say
from jobs.spark.jvm import java_session, jvm_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FACET: Final = "tripclick_offsets"
_LISTENER: Final = "OpenLineageSparkListener"
_PRODUCER: Final = "urn:tripclick:jobs.spark.kafka_lineage"
_SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"


@contextmanager
def offsets_told(spark: SparkSession, brokers: str, topic: str, checkpoint: str) -> Iterator[None]:
    """Around a stream of the topic: however it ends, tell how far it was before, and how far it is now.

    The event is one of the task that has started Spark. If none has, or Spark sends no events, nothing is told.
    """
    task = {
        name: spark.conf.get(f"spark.openlineage.parent{name}", "") for name in ("JobNamespace", "JobName", "RunId")
    }
    if _LISTENER not in str(spark.conf.get("spark.extraListeners", "")) or not all(task.values()):
        yield
        return
    before = _read_until(spark, topic, checkpoint)
    try:
        yield
    finally:
        try:
            if (until := _read_until(spark, topic, checkpoint)) != before:
                facet = {"_producer": _PRODUCER, "_schemaURL": f"{_SPEC}InputDatasetFacet", "from": before, "to": until}
                source = {"namespace": f"kafka://{brokers.split(',')[0]}", "name": topic, "inputFacets": {FACET: facet}}
                _send(spark, task, source)
        except Exception as error:  # noqa: BLE001 (what has been read counts, and why the stream ended)
            say(f"the lineage of this run lacks the offsets: {' '.join(str(error).split())[:300]}")


def _read_until(spark: SparkSession, topic: str, checkpoint: str) -> dict[str, int]:
    """The topic's offsets after a checkpoint's last complete micro-batch, by partition; none before the first one."""
    logs = jvm_of(spark).org.apache.spark.sql.execution.streaming.checkpointing
    complete = logs.CommitLog(java_session(spark), f"{checkpoint}/commits", True).getLatestBatchId()
    if complete.isEmpty():
        return {}
    planned = logs.OffsetSeqLog(java_session(spark), f"{checkpoint}/offsets", True).get(complete.get())
    offsets: dict[str, int] = json.loads(planned.get().offsets().head().get().json()).get(topic, {})
    return offsets


def _send(spark: SparkSession, task: dict[str, str | None], source: dict[str, Any]) -> None:
    """An event of the running task; openlineage-spark logs it if nobody takes it."""
    event = {
        "eventType": "RUNNING",
        "eventTime": dt.datetime.now(dt.UTC).isoformat(),
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}RunEvent",
        "run": {"runId": task["RunId"]},
        "job": {"namespace": task["JobNamespace"], "name": task["JobName"]},
        "inputs": [source],
    }
    lineage = jvm_of(spark).io.openlineage
    settings = lineage.spark.agent.ArgumentParser.parse(jvm_of(spark).org.apache.spark.SparkEnv.get().conf())
    emitter = lineage.spark.agent.EventEmitter(settings, str(task["JobName"]))
    try:
        emitter.emit(lineage.client.OpenLineageClientUtils.runEventFromJson(json.dumps(event)))
    finally:
        emitter.close()
