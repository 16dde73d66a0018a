"""The stack as a whole: what starts beside what."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stack.errors import NoImageError
from stack.home import Home
from stack.stack import Stack


def test_airflow_starts_while_the_image_is_made_and_again_when_there_can_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, airflow_started, starts = Stack(Home(tmp_path, any_port=True)), threading.Event(), list[str]()

    def no_image(*_: object) -> str:
        assert airflow_started.wait(10), "the image was not made beside Airflow's start"
        raise NoImageError("no package archive")

    def start_airflow() -> None:
        starts.append(stack.airflow.pipeline_environment)
        airflow_started.set()

    for server in stack.servers:
        monkeypatch.setattr(server, "start", lambda: None)
    monkeypatch.setattr(stack.docker, "start", lambda: stack.docker._decide("tcp://127.0.0.1:1"))
    monkeypatch.setattr(stack.airflow, "prepare", lambda: None)
    monkeypatch.setattr(stack.airflow, "import_settings", lambda _: None)
    monkeypatch.setattr(stack.airflow, "start", start_airflow)
    monkeypatch.setattr(stack, "airflow_values", dict)
    monkeypatch.setattr(stack, "airflow_secrets", dict)
    monkeypatch.setattr("stack.stack.ensure_image", no_image)
    stack.up()
    assert starts == ["local", "local_without_docker"]
    assert stack.docker.why_unavailable == "no package archive"
