"""Records of a Kafka topic as a stream, from the broker or the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobs.errors import JobError
from jobs.kafka_security import PLAINTEXT, Security
from jobs.spark.delta_log import is_table
from jobs.spark.jvm import jvm_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
from jobs.spark.kafka_required import ANSWER_MS, client_settings

# A batch of a backlog: half a minute's work on two cores. It has to fit on disk, not into memory.
MAX_RECORDS_PER_BATCH: Final = 500_000
MAX_BYTES_PER_BATCH: Final = 2**30
_SAMPLE: Final = 100  # newest records of a partition, from which the size is estimated
MAX_ARCHIVE_BYTES_PER_BATCH: Final = "80m"  # about as many, compressed
RECORDS_PER_TASK: Final = 100_000  # more tasks than partitions of the topic, so that all cores are busy to the end
_RECORD: Final = ("topic", "partition", "offset", "kafka_ts", "key", "value", "headers")


def _records_per_batch(spark: SparkSession, brokers: str, topic: str, security: Security) -> int:
    """How many records a batch may have, by the mean size of some of the newest."""
    jvm = jvm_of(spark)
    plain = "org.apache.kafka.common.serialization.ByteArrayDeserializer"
    reading = {"key.deserializer": plain, "value.deserializer": plain, "auto.offset.reset": "earliest"}
    consumer = jvm.org.apache.kafka.clients.consumer.KafkaConsumer(client_settings(jvm, brokers, security, **reading))
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
        "kafka.default.api.timeout.ms": str(ANSWER_MS),
        "kafka.request.timeout.ms": str(ANSWER_MS),
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
