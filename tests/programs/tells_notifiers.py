"""What a failed task and a late run put into the log, with notifiers one of which fails."""

from __future__ import annotations

import logging
import sys
import types
from pipeline_config.operators.alerts import deadline_missed, on_failure


class Notifier:
    def __init__(self, word, wrong=False):
        self.word, self.wrong = word, wrong

    def __call__(self, context):
        if self.wrong:
            raise ValueError("no route to " + self.word)
        logging.getLogger("airflow.task").error("told %s of %s", self.word, context["run_id"])


sys.modules["people"] = types.SimpleNamespace(Notifier=Notifier)
instance = types.SimpleNamespace(dag_id="d", task_id="t", try_number=3, run_id="r")
logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
notifiers = [{"class": "people.Notifier", "arguments": {"word": word, "wrong": word == "x"}} for word in "xy"]
on_failure({"task_instance": instance, "run_id": "r", "exception": ValueError("two\nlines")}, notifiers)
run = {"dag_id": "d", "dag_run_id": "late"}
deadline_missed(context={"dag_run": run, "deadline": {"deadline_time": "05:00"}}, notifiers=notifiers)
