"""librdkafka's own producer loop over a log: BROKERS TOPIC FILE…, with the producer's settings, and nothing else.

It reads, keys by session and counts what is acknowledged; it knows no days, no progress, no line that is wrong.
"""

from __future__ import annotations

import json
import sys

from confluent_kafka import KafkaError, Message, Producer

from jobs.event import SHIFT_HEADER
from jobs.producer.sender import SETTINGS


def main(brokers: str, topic: str, *files: str) -> int:
    """Send all lines; the number of those that are not acknowledged."""
    producer = Producer({"bootstrap.servers": brokers, **SETTINGS})
    left = 0

    def delivered(error: KafkaError | None, _: Message) -> None:
        nonlocal left
        left -= error is None

    for name in files:
        with open(name, "rb") as file:  # noqa: PTH123
            for line in file:
                value = line.rstrip()
                key = json.loads(value)["SessionId"]
                while len(producer) > 10_000:
                    producer.poll(0.01)
                producer.produce(topic, value, key, headers=[(SHIFT_HEADER, b"0")], on_delivery=delivered)
                left += 1
            producer.poll(0)
    producer.flush()
    return left


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
