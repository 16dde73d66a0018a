"""The identity of an event."""

from __future__ import annotations

from jobs.event import event_id
from jobs.producer.replay import WEEK_MS


def test_the_events_identity_is_that_of_the_contract() -> None:
    # printf '{}|0' | sha256sum
    assert event_id(b"{}", 0) == "f971f7b0563698352d025ea8cc125fbd135904e1bd27b60fa0a9b720b937249f"
    assert event_id(b"{}", 0) != event_id(b"{}", WEEK_MS)
