"""Alerts for failed tasks and late runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger("airflow.task")


def on_failure(context: Context, notifiers: Sequence[dict[str, Any]]) -> None:
    """A line in the log for a task that has failed after all retries; then each notifier is called."""
    task = context["task_instance"]
    reason = " ".join(str(context.get("exception") or "ended from outside").split())
    log.error("FAILED %s.%s, try %s, run %s: %s", task.dag_id, task.task_id, task.try_number, task.run_id, reason)
    notify(context, notifiers)


def deadline_missed(context: dict[str, Any], notifiers: Sequence[dict[str, Any]]) -> None:
    """A line in the log for a run that has missed its deadline; then each notifier is called.

    `context` has `deadline` and `dag_run` as mappings, which is all that Airflow gives; `run_id` is added.
    """
    run = context["dag_run"]
    run_id, time = run["dag_run_id"], context["deadline"]["deadline_time"]
    log.error("LATE %s, run %s: not done by %s", run["dag_id"], run_id, time)
    notify({**context, "dag_run": {**run, "run_id": run_id}, "run_id": run_id}, notifiers)


def notify(context: Context | dict[str, Any], notifiers: Sequence[dict[str, Any]]) -> None:
    """Call each notifier (`class`, `arguments`); a failing one is logged and does not stop the others."""
    for notifier in notifiers:
        try:
            module, _, name = notifier["class"].rpartition(".")
            getattr(import_module(module), name)(**notifier.get("arguments", {}))(context)
        except Exception:
            log.exception("notifier %s failed", notifier["class"])
