"""The Kafka broker: the id of the cluster that it founds."""

from __future__ import annotations

import base64
import uuid

import pytest

from stack.kafka_broker import new_cluster_id


def test_a_cluster_id_is_never_read_as_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: uuid.UUID(bytes=b"\xfb" * 16))
    found = new_cluster_id()
    assert not found.startswith("-")
    assert len(base64.urlsafe_b64decode(f"{found}==")) == 16
