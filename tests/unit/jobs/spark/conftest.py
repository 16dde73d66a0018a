"""What the tests of several jobs need."""

from __future__ import annotations

import pytest


@pytest.fixture
def unreachable_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq's environment names a port on which nobody listens."""
    for name in ("PGSERVICE", "PGPASSFILE", "PGOPTIONS"):
        monkeypatch.delenv(name, raising=False)
    values = {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGDATABASE": "d", "PGUSER": "u", "PGPASSWORD": "se-cret"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
