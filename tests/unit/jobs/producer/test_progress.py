"""Offsets are asked for again while the brokers change; a record of somebody else is not ours, whatever it holds."""

from __future__ import annotations

from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from jobs.event import SHIFT_HEADER, event_id
from jobs.producer.progress import _identity, _note, bounds

PARTITION = TopicPartition("topic", 0)


class _Fails:
    """A consumer whose first question fails so."""

    def __init__(self, code: int) -> None:
        self._errors = [KafkaException(KafkaError(code))]

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        assert (partition, timeout > 0) == (PARTITION, True)
        if self._errors:
            raise self._errors.pop()
        return 2, 7


@pytest.mark.parametrize(
    "code", [KafkaError._DESTROY_BROKER, KafkaError._TRANSPORT, KafkaError.NOT_LEADER_FOR_PARTITION]
)
def test_a_lost_broker_is_asked_again(code: int) -> None:
    assert bounds(cast("Consumer", _Fails(code)), PARTITION) == (2, 7)


def test_a_refused_login_is_an_error() -> None:
    with pytest.raises(KafkaException, match="_AUTHENTICATION"):
        bounds(cast("Consumer", _Fails(KafkaError._AUTHENTICATION)), PARTITION)


class _Record:
    """A record with this header."""

    def __init__(self, shift: bytes | None) -> None:
        self._shift = shift

    def value(self) -> bytes:
        return b"line"

    def headers(self) -> list[tuple[str, bytes | None]]:
        return [(SHIFT_HEADER, self._shift)]


@pytest.mark.parametrize("shift", [b"x", b"\xff", b"9" * 5000])
def test_a_record_whose_shift_is_no_number_is_none_of_ours(shift: bytes) -> None:
    assert _identity(cast("Message", _Record(shift))) == ""
    assert _identity(cast("Message", _Record(b"5"))) == event_id(b"line", 5)


@pytest.mark.parametrize("value", [None, b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"lines": 1}'])
def test_what_no_producer_of_ours_noted_is_no_progress(value: bytes | None) -> None:
    assert _note(value) == {}
    assert _note(b'{"topic_id": "t"}') == {"topic_id": "t"}
