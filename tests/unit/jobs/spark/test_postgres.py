"""What is said when the connection to PostgreSQL is not as it should be."""

from __future__ import annotations

import pytest

from jobs.errors import JobError
from jobs.spark.postgres import NEEDED, connect

pytestmark = pytest.mark.usefixtures("unreachable_postgresql")


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(JobError, match=rf"^{name} not set: declare the PostgreSQL connection .*AcceptEnv PG\*"):
        connect()


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    with pytest.raises(JobError, match=r"127\.0\.0\.1.*port 1.*refused.*check the connection") as caught:
        connect()
    assert "\n" not in str(caught.value)
    assert "se-cret" not in str(caught.value)
