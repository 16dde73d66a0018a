"""A notifier as Airflow's providers have them; what it says is a line of a file."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk.bases.notifier import BaseNotifier


class Tell(BaseNotifier):
    template_fields = ("line",)

    def __init__(self, *, file, line):
        super().__init__()
        self.file, self.line = file, line

    def notify(self, context):  # noqa: ARG002 (as Airflow calls it)
        with Path(self.file).open("a", encoding="utf-8") as file:
            print(self.line, file=file)
