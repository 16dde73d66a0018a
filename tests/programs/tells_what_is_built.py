"""What the valid cases are made of, as JSON."""

from __future__ import annotations

import json
import sys
import dag_factory_loader as loader

dag = loader.ninth
tasks = {
    task.task_id: [type(task).__name__, sorted(task.upstream_task_ids), task.pool, task.owner, task.trigger_rule]
    for task in dag.tasks
}
outlets = [asset.uri for asset in dag.get_task("end").outlets]
schedule = [asset.uri for asset in loader.after_ninth.schedule]
mapped = dag.get_task("send").expand_input.value["command"]
groups = {name: group.tooltip for name, group in dag.task_group.get_task_group_dict().items() if name}
record = {"tasks": tasks, "outlets": outlets, "schedule": schedule, "mapped": mapped, "groups": groups}
record |= {"doc": dag.doc_md, "params": dag.params.get_param("size").schema, "problems": loader.PROBLEMS}

from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction


def scheduled(dag_id):
    return DagSerialization.from_dict(DagSerialization.to_dict(vars(loader)[dag_id]))


def next_run(dag_id):
    dag = scheduled(dag_id)
    restriction = TimeRestriction(dag.start_date, None, catchup=True)
    info = dag.timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    return info.run_after.in_timezone("UTC").isoformat()


nightly = scheduled("nightly")
record["nightly"] = {
    "first": next_run("nightly"),
    "catchup": nightly.catchup,
    "dagrun_timeout": nightly.dagrun_timeout.total_seconds(),
    "is_paused_upon_creation": nightly.is_paused_upon_creation,
    "tasks": {task.task_id: [task.depends_on_past, task.priority_weight] for task in nightly.tasks},
}

import datetime

run = {"run_after": datetime.datetime(2024, 1, 2, 15, tzinfo=datetime.UTC)}


def sent(task_id):
    task = loader.hands_on.get_task(task_id)
    given = task.dag.params.dump()
    return json.loads(task.render_template(task.conf, {"params": given, "dag_run": run}, task.get_template_env()))


def condition(asset):
    return asset.uri if hasattr(asset, "uri") else {type(asset).__name__: [condition(one) for one in asset.objects]}


names = ("after_any", "after_all")
record["assets"] = {name: condition(vars(loader)[name].timetable.asset_condition) for name in names}
record["assets"]["next"] = next_run("after_any")
record["nested"] = {task.task_id: sorted(task.upstream_task_ids) for task in loader.updates_three.tasks}


def told(task, event):
    (call,) = getattr(task, f"{event}_callback") or [None]
    return call and [call.func.__name__, *(one["class"].rpartition(".")[2] for one in call.keywords["notifiers"])]


events = ("on_failure", "on_retry", "on_success")
record["told"] = {task.task_id: [told(task, event) for event in events] for task in loader.tells.tasks}
record["deadlines"] = [
    [alert.name, alert.reference.reference_name, alert.interval.total_seconds() / 60, alert.callback.path]
    for alert in loader.tells.deadline
]
record["late"] = [one["arguments"]["subject"] for one in loader.tells.deadline[0].callback.kwargs["notifiers"]]
record["conf"] = {task_id: sent(task_id) for task_id in ("load", "all_kinds")}
print(json.dumps(record, default=str), file=sys.stderr)
