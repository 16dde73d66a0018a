"""What a stream needs of Kafka, checked before it starts: a broker, the topic, and that it is the checkpoint's."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from jobs.errors import JobError, NonRetryableError
from jobs.kafka_security import PLAINTEXT, Security
from jobs.known_errors import java_causes
from jobs.spark.jvm import jvm_of
from jobs.spark.lease_files import files_in

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOPIC_FOLDER: Final = "_topic"  # below a checkpoint; deleted with it


_CONNECT_SECONDS: Final = 10


ANSWER_MS: Final = 20_000


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
        admin = jvm.org.apache.kafka.clients.admin.AdminClient.create(client_settings(jvm, brokers, security))
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


def client_settings(jvm: Any, brokers: str, security: Security, **others: str) -> Any:
    """Settings of a Kafka client, as Java properties."""
    settings = jvm.java.util.Properties()
    timeouts = dict.fromkeys(("default.api.timeout.ms", "request.timeout.ms"), str(ANSWER_MS))
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
            f"is left, delete {checkpoint}: it is all read again, counted once"
        )
    files.create(topic_id, b"")
