"""Odd values and keys at each place of files that are right, and Airflow asked about each that the check lets through.

The files are those of tests/pipelines/valid: together they have every key. Places are those of pipelines, and of
defaults.yaml.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from pipeline_config.checks import check
from pipeline_config.project import ROOT, Project, load_project
from pipeline_config.reader import Document, KeyPath, parse
from pipeline_config.schema import check_schema
from tests.mutations.run import Airflow, Outcome, no_hang
from tests.mutations.verdict import Verdict

VALID = ROOT / "tests" / "pipelines" / "valid"
ODD: tuple[Any, ...] = (
    *("", " ", "x", "a b", "x" * 300, "ä\n", "\u200b", "../x", "a.b", "0", "yes", "null", "1 day", "now", "x.sh"),
    *("{{ ds }}", "{{ x", "{{ ti.xcom_pull('x') }}", "{{ ds.x }}", "${HOME}", "$(id)", "'", "--x"),
    *("2024-01-01", "2024-13-01", "0001-01-01", "9999-12-31", "24:00", "@daily", "@never", "* * * * *", "0 0 31 2 *"),
    *("Asia/Seoul", "Mars/Olympus", "airflow://x", "s3://x", f"s3://{'x' * 2000}", "http://[::1", "x-y://"),
    *("always", "all_success", "absolute", "default_pool", "builtins.print", "airflow.sdk.DAG", "start"),
    *(0, 1, -1, 0.5, -0.5, 10**9, 10**17, 1e17, True, False, None),
    *([], [""], ["x", "x"], [1], [None], {}, {"x": 1}, {"": ""}, {"__type": "x", "__var": {}}),
)
# Arguments that every operator takes, which few people need.
ARGUMENTS = """
    allow_nested_operators dag default_args depends_on_past do_xcom_push doc doc_json doc_md email email_on_failure
    end_date end_date_minutes execution_timeout executor executor_config ignore_first_depends_on_past inlets
    map_index_template max_active_tis_per_dag max_active_tis_per_dagrun max_retry_delay max_retry_delay_minutes
    multiple_outputs on_execute_callback on_failure_callback on_retry_callback on_skipped_callback on_success_callback
    outlets owner params pool pool_slots post_execute pre_execute priority_weight queue render_template_as_native_obj
    resources retries retry_delay retry_delay_minutes retry_exponential_backoff run_as_user sla start_date
    task_concurrency task_display_name task_group task_id trigger_rule ui_color wait_for_downstream
    wait_for_past_depends_before_skipping weight_rule
    """.split()


def projects(folder: Path) -> Iterator[Project]:
    """A project for each folder of VALID, with the pipelines of that folder alone."""
    for case in sorted(path for path in VALID.iterdir() if path.is_dir()):
        root = folder / case.name
        shutil.copytree(ROOT / "pipelines", root / "pipelines")
        shutil.copytree(case, root / "pipelines", dirs_exist_ok=True)
        project = load_project(root)
        own = [document for document in project.pipeline_files if "/cases/" in document.file]
        production = project.environment_files["production"]
        yield replace(project, pipeline_files=own, environment_files={"production": production})


def edited(data: Any, random: Random) -> tuple[KeyPath, Any]:
    """The data with an odd value at one place, or with one more key there; and that place."""
    changed = copy.deepcopy(data)
    path, holder, key = random.choice(list(_places(changed, ())))
    if isinstance(holder[key], dict) and random.random() < MORE_KEYS:
        name = random.choice(ARGUMENTS)
        holder[key][name] = random.choice(ODD)
        return (*path, name), changed
    holder[key] = random.choice(ODD)
    return path, changed


MORE_KEYS = 0.7  # of the edits of a mapping


def _places(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key), value, key
        yield from _places(item, (*path, key))


def run(folder: Path, seed: int, count: int, airflow: Airflow) -> Iterator[Outcome]:
    """Edit `count` times; wrong is what Airflow refuses."""
    random = Random(seed)  # noqa: S311 (to be repeated, not to be secret)
    every = list(projects(folder))
    for _ in range(count):
        project = random.choice(every)
        document = random.choice([project.defaults_file, *project.pipeline_files * 2])
        yield _outcome(project, document, *edited(document.data, random), airflow)


def _outcome(project: Project, original: Document, path: KeyPath, data: Any, airflow: Airflow) -> Outcome:
    document = parse(Document(original.file), json.dumps(data, ensure_ascii=False, indent=1).encode())
    outcome = Outcome("edit", original.file, Verdict.SAME, [(path, None, _at(data, path))])
    with no_hang(outcome):
        shared = original is project.defaults_file
        document.problems.extend(check_schema(document, "defaults" if shared else "pipeline"))
        pipelines = [document if other is original else other for other in project.pipeline_files]
        defaults = document if shared else project.defaults_file
        changed = replace(project, pipeline_files=pipelines, defaults_file=defaults)
        outcome.problems = check(changed)
        if not outcome.caught and not outcome.faults:
            outcome.faults = airflow.faults(changed, outcome)
    return outcome


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value[part]
    return value
