"""Records of a Kafka topic as a stream, from the broker or the archive, and early checks of what it needs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from jobs.errors import JobError, NonRetryableError
from jobs.kafka_security import PLAINTEXT, Security
from jobs.known_errors import java_causes
from jobs.spark.delta_log import is_table
from jobs.spark.jvm import jvm_of
from jobs.spark.lease_files import files_in

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# A batch of a backlog: half a minute's work on two cores. It has to fit on disk, not into memory.
MAX_RECORDS_PER_BATCH: Final = 500_000
MAX_BYTES_PER_BATCH: Final = 2**30
_SAMPLE: Final = 100  # newest records of a partition, from which the size is estimated
MAX_ARCHIVE_BYTES_PER_BATCH: Final = "80m"  # about as many, compressed
RECORDS_PER_TASK: Final = 100_000  # more tasks than partitions of the topic, so that all cores are busy to the end
TOPIC_FOLDER: Final = "_topic"  # below a checkpoint; deleted with it
_RECORD: Final = ("topic", "partition", "offset", "kafka_ts", "key", "value", "headers")
_CONNECT_SECONDS: Final = 10
_ANSWER_MS: Final = 20_000


def require_broker(brokers: str) -> None:
    """JobError unless one of `brokers` (host:port, separated by commas) accepts a connection; before Spark starts."""
    refused = []
    for broker in brokers.split(","):
        host, _, port = broker.strip().rpartition(":")
        if not host or not port.isdecimal():
            raise NonRetryableError(f"--kafka-brokers: {broker.strip()!r} is not host:port")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            refused.append(f"{broker.strip()} ({error})")
        else:
            return
    raise JobError(f"Kafka does not answer: {', '.join(refused)}; start it, or correct --kafka-brokers")


def require_topic(spark: SparkSession, brokers: str, topic: str, security: Security = PLAINTEXT) -> str:
    """The id of the topic; JobError unless the cluster answers and has it."""
    from py4j.protocol import Py4JJavaError

    jvm = jvm_of(spark)
    admin = None
    try:
        admin = jvm.org.apache.kafka.clients.admin.AdminClient.create(_settings(jvm, brokers, security))
        topics = admin.describeTopics(jvm.java.util.Collections.singletonList(topic)).allTopicNames().get()
        return str(topics.get(topic).topicId().toString())
    except Py4JJavaError as error:
        causes = _causes(error.java_exception)
        if "UnknownTopic" in causes:
            raise JobError(f"Kafka has no topic {topic!r}: run a producer first, it creates the topic") from None
        refused = any(word in causes for word in ("AuthenticationException", "AuthorizationException"))
        kind = NonRetryableError if refused else JobError
        raise kind(f"Kafka at {brokers} does not answer as expected: {causes}; {security.fix}") from None
    finally:
        if admin:
            admin.close()


def _settings(jvm: Any, brokers: str, security: Security, **others: str) -> Any:
    """Settings of a Kafka client, as Java properties."""
    settings = jvm.java.util.Properties()
    timeouts = dict.fromkeys(("default.api.timeout.ms", "request.timeout.ms"), str(_ANSWER_MS))
    for name, value in {"bootstrap.servers": brokers, **timeouts, **security.java, **others}.items():
        settings.put(name, value)
    return settings


def _causes(exception: Any) -> str:
    """The first and the last of the causes behind a Java exception."""
    causes = list(java_causes(exception.getCause()))
    return " ← ".join(dict.fromkeys([causes[0], causes[-1]])) if causes else ""


def require_same_topic(spark: SparkSession, topic: str, topic_id: str, checkpoint: str) -> None:
    """Record beside a checkpoint which topic it belongs to; JobError if that has been deleted and recreated since.

    Its offsets begin at 0 again: those up to the checkpoint's would be skipped silently.
    """
    files = files_in(spark, f"{checkpoint}/{TOPIC_FOLDER}")
    known = [name for name in files.names() if not name.startswith(".")]
    if known and topic_id not in known:
        raise NonRetryableError(
            f"the topic {topic} was deleted and recreated, or is not the one of {checkpoint}. To continue with what "
            f"is there, delete {checkpoint}: it is all read again, counted once"
        )
    files.create(topic_id, b"")


def _records_per_batch(spark: SparkSession, brokers: str, topic: str, security: Security) -> int:
    """How many records a batch may have, by the mean size of some of the newest."""
    jvm = jvm_of(spark)
    plain = "org.apache.kafka.common.serialization.ByteArrayDeserializer"
    reading = {"key.deserializer": plain, "value.deserializer": plain, "auto.offset.reset": "earliest"}
    consumer = jvm.org.apache.kafka.clients.consumer.KafkaConsumer(_settings(jvm, brokers, security, **reading))
    try:
        places = jvm.java.util.ArrayList()
        for partition in consumer.partitionsFor(topic):
            places.add(jvm.org.apache.kafka.common.TopicPartition(topic, partition.partition()))
        consumer.assign(places)
        ends = consumer.endOffsets(places)
        for place in places:
            consumer.seek(place, max(0, ends[place] - _SAMPLE))
        found = consumer.poll(jvm.java.time.Duration.ofSeconds(int(any(ends.values()))))
        sizes: list[int] = [record.serializedValueSize() for place in places for record in found.records(place)]
    finally:
        consumer.close()
    mean = max(1, sum(sizes) // max(1, len(sizes)))
    return max(1, min(MAX_RECORDS_PER_BATCH, MAX_BYTES_PER_BATCH // mean))


def records(spark: SparkSession, brokers: str, topic: str, security: Security = PLAINTEXT) -> DataFrame:
    """The stream (topic, partition, offset, kafka_ts, key, value, headers), at first from the earliest offset.

    Records that Kafka dropped before they were read fail the stream: they are not skipped silently.
    """
    options = {
        "kafka.bootstrap.servers": brokers,
        "subscribe": topic,
        "startingOffsets": "earliest",
        "failOnDataLoss": "true",
        "includeHeaders": "true",
        "maxOffsetsPerTrigger": str(_records_per_batch(spark, brokers, topic, security)),
        "maxRecordsPerPartition": str(RECORDS_PER_TASK),
        "kafka.default.api.timeout.ms": str(_ANSWER_MS),
        "kafka.request.timeout.ms": str(_ANSWER_MS),
        **{f"kafka.{name}": value for name, value in security.java.items()},
    }
    stream = spark.readStream.format("kafka").options(**options).load()
    return stream.withColumnRenamed("timestamp", "kafka_ts").select(*_RECORD)


def archived_records(spark: SparkSession, path: str, topic: str) -> DataFrame:
    """The same stream of the records in a raw archive, including those that Kafka has dropped."""
    if not is_table(spark, path):
        raise JobError(f"there is no raw archive in {path}: run archive_raw first")
    options = {"maxBytesPerTrigger": MAX_ARCHIVE_BYTES_PER_BATCH}
    archive = spark.readStream.format("delta").options(**options).load(path)
    return archive.where(archive.topic == topic).select(*_RECORD)
