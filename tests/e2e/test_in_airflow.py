"""What people see of their YAML in a running Airflow: problems, edits, forms, pages, and a ninth DAG."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs.generator.__main__ import write_day
from pipeline_config.project import load_project
from stack.airflow_api import AirflowApi
from stack.follow import follow
from stack.settings import PRODUCER_IMAGE, REPOSITORY
from stack.stack import Stack
from tests.e2e.conftest import first_failure, screenshot, shown
from tests.hostile import HOSTILE
from tests.programs import program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

SEEN_SECONDS = 10  # after a YAML file was saved
NEEDS_MORE = """\
dag_id: needs_more
description: The class refuses an argument, which only building the DAG shows
schedule: null
tasks:
  - task_id: greet
    operator: airflow.providers.standard.operators.datetime.BranchDateTimeOperator
    advanced: {follow_task_ids_if_true: x, follow_task_ids_if_false: x, target_lower: null, target_upper: null}
"""


@pytest.fixture(scope="module")
def page(stack: Stack, api: AirflowApi, browser: Browser) -> Iterator[Page]:  # noqa: ARG001 (its DAGs are there)
    """A page with a login in Airflow."""
    url, user, password = stack.airflow.login
    with browser.new_page(viewport={"width": 1280, "height": 900}) as page:
        page.set_default_timeout(60_000)
        page.goto(url)
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", password)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(rf"{re.escape(url)}/(?!auth)"))
        yield page


def test_every_dag_is_in_the_list(api: AirflowApi, page: Page) -> None:
    page.evaluate("() => localStorage.setItem('dags_list_display', '\"table\"')")
    page.goto(f"{api.url}/dags")
    for path in (REPOSITORY / "pipelines").glob("*/tripclick_*.yaml"):
        page.get_by_role("link", name=path.stem, exact=True).first.wait_for()
    screenshot(page, "airflow.png")


@pytest.fixture
def broken(project: Path, api: AirflowApi) -> Iterator[None]:
    """One file with a misspelt key, and one whose DAG cannot be built; fixed afterwards."""
    path = project / "pipelines/mart/tripclick_load_postgres.yaml"
    right = path.read_text(encoding="utf-8")
    added = project / "pipelines/mart/needs_more.yaml"
    path.write_text(right.replace("schedule: null", "schedul: null"), encoding="utf-8")
    added.write_text(NEEDS_MORE, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(right, encoding="utf-8")
        added.unlink()
        api.wait(lambda: not api.import_errors() and path.stem in api.dags(), "the fixed files are seen")


@pytest.mark.usefixtures("broken")
def test_a_broken_file_is_shown_with_line_and_column_and_the_other_dags_go_on(api: AirflowApi, page: Page) -> None:
    lines = [
        "pipelines/mart/tripclick_load_postgres.yaml:4:1: unknown key 'schedul' (did you mean 'schedule'?)",
        "pipelines/mart/needs_more.yaml:5:5: cannot be built: AirflowException: Both target_upper and",
    ]
    api.wait(lambda: all(line in "".join(api.import_errors()) for line in lines), "both problems are shown")
    assert "Traceback" not in "".join(api.import_errors()).partition("PipelineErrors")[2], "people read no frames"
    api.wait(lambda: "tripclick_load_postgres" not in api.dags(), "the broken DAG is gone")
    others = {path.stem for path in (REPOSITORY / "pipelines").glob("*/tripclick_*.yaml")} - {"tripclick_load_postgres"}
    assert set(api.dags()) >= others
    run_id = api.trigger("tripclick_producer_batch", {"first_date": "2019-01-01", "last_date": "2019-01-01"})
    state, why = first_failure(api, "tripclick_producer_batch", run_id)
    assert (state, "no log of 2019-01-01" in why) == ("up_for_retry", True), why  # the log may come yet
    page.goto(api.url)
    page.get_by_role("button", name=re.compile("import error", re.IGNORECASE)).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("dag_factory_errors.py").first.click()
    for line in lines:
        dialog.get_by_text(line).first.wait_for()
    screenshot(page, "import-errors.png")


def test_tasks_have_productions_retries(api: AirflowApi) -> None:
    project = load_project()
    retries = project.defaults.default_args.retries
    assert retries
    assert not project.environments["production"].default_args.given()
    dags = [path.stem for path in (REPOSITORY / "pipelines").glob("*/tripclick_*.yaml")]
    found = [task["retries"] for dag_id in dags for task in api.call("GET", f"dags/{dag_id}/tasks")["tasks"]]
    assert set(found) == {retries}


def test_an_edit_is_seen_within_ten_seconds(project: Path, api: AirflowApi) -> None:
    path = project / "pipelines/mart/tripclick_load_postgres.yaml"
    right = path.read_text(encoding="utf-8")
    try:
        for words in ("once", "twice", "three times"):
            path.write_text(re.sub("(?m)^description: .*$", f"description: {words}", right), encoding="utf-8")
            seen = partial(_is_described, api, path.stem, words)
            assert api.wait(seen, f"description {words!r} is seen", SEEN_SECONDS) <= SEEN_SECONDS
    finally:
        path.write_text(right, encoding="utf-8")
        words = right.splitlines()[2].removeprefix("description: ")
        api.wait(partial(_is_described, api, path.stem, words), "the old description is back")


def _is_described(api: AirflowApi, dag_id: str, words: str) -> bool:
    return bool(api.dag(dag_id)["description"] == words)


def test_params_are_a_form_with_types_and_descriptions(api: AirflowApi, page: Page) -> None:
    page.goto(f"{api.url}/dags/tripclick_producer_batch")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_text("Last day to send (included)").wait_for()
    assert page.locator("#element_first_date").get_attribute("type") == "date"
    assert page.locator("#element_first_date").input_value() == "2020-10-01"
    screenshot(page, "trigger-form.png")
    params = api.call("GET", "dags/tripclick_streaming_curated/details")["params"]
    assert (
        params["run_minutes"]["schema"] | {"type": "number", "exclusiveMinimum": 0} == params["run_minutes"]["schema"]
    )
    assert params["run_minutes"]["description"] == "Stop after this many minutes"


def test_a_dags_page_says_what_it_is_for_and_what_it_needs(api: AirflowApi) -> None:
    details = api.call("GET", "dags/tripclick_load_postgres/details")
    source = (REPOSITORY / "pipelines/mart/tripclick_load_postgres.yaml").read_text(encoding="utf-8")
    assert "flow: start → load_to_postgres → end" in details["doc_md"]
    assert "* variables: `S3_ANALYTICS_MART_PATH`, `SPARK_PROJECT_PATH`" in details["doc_md"]
    assert "* connections: `spark_ssh`, `aws_s3`, `postgres_gold`" in details["doc_md"]
    assert source in details["doc_md"]
    assert details["owners"] == ["data-platform"]
    assert {"tripclick", "mart"} <= {tag["name"] for tag in details["tags"]}


SHOW_WORDS = program("shows_words")


@contextmanager
def in_airflow(
    api: AirflowApi, dags: set[str], added: Mapping[Path, str], defaults: Path, changed: str
) -> Iterator[None]:
    """These DAGs are in Airflow while the block runs, by the files that are added and the changed defaults.yaml."""
    right = defaults.read_text(encoding="utf-8")
    defaults.write_text(changed, encoding="utf-8")
    for path, text in added.items():
        path.write_text(text, encoding="utf-8")
    try:
        api.wait(lambda: dags <= set(api.dags()), f"{', '.join(sorted(dags))}: in Airflow")
        yield
    finally:
        for path in added:
            path.unlink()
        defaults.write_text(right, encoding="utf-8")
        api.wait(lambda: dags.isdisjoint(api.dags()), f"{', '.join(sorted(dags))}: gone")


@pytest.fixture
def words(project: Path, api: AirflowApi) -> Iterator[str]:
    """A DAG with a param for each hostile text, which goes to a job by SSH and to one in a container."""
    operator = {
        "class": "pipeline_config.operators.docker.DockerOperator",
        "connection_argument": "engine_conn_id",
        "connection_type": "docker",
        "arguments": {
            "image": PRODUCER_IMAGE,
            "entrypoint": ["/opt/venv/bin/python", "-c", SHOW_WORDS],
            "network_mode": "host",
            "mount_tmp_dir": False,
            "do_xcom_push": False,
            "execution_timeout_minutes": 5,
        },
    }
    commands = {
        "words_by_ssh": {"module": "jobs.{job}", "shell": f"python3 -c {shlex.quote(SHOW_WORDS)} {{arguments}}"},
        "words_by_docker": {"module": "jobs.{job}", "argv": ["{arguments}"]},
    }
    numbers = range(len(HOSTILE))
    task = {"job": "words", "arguments": {f"text-{number}": f"{{{{ params.text_{number} }}}}" for number in numbers}}
    pipeline = {
        "dag_id": "words",
        "description": "Shows the words that its jobs are given",
        "schedule": None,
        "connections": ["spark_ssh", "docker_server0"],
        "params": {f"text_{number}": {"type": "string", "default": "", "description": "A text"} for number in numbers},
        "tasks": [
            {"task_id": "by_ssh", "operator": "SSHOperator", "connection": "spark_ssh", "command": "words_by_ssh"}
            | task,
            {"task_id": "by_docker", "operator": "Words", "connection": "docker_server0", "command": "words_by_docker"}
            | task
            | {"dependencies": ["by_ssh"]},
        ],
    }
    defaults = project / "pipelines/defaults.yaml"
    right = defaults.read_text(encoding="utf-8")
    changed = right.replace("operators:\n", f"operators:\n  Words: {json.dumps(operator)}\n", 1)
    added = {project / "jobs/words.py": program("takes_texts"), project / "pipelines/words.yaml": json.dumps(pipeline)}
    changed += "".join(f"  {k}: {json.dumps(v)}\n" for k, v in commands.items())
    with in_airflow(api, {"words"}, added, defaults, changed):
        yield "words"


def test_what_is_typed_into_a_form_reaches_the_job_as_text(
    words: str, api: AirflowApi, pytestconfig: pytest.Config
) -> None:
    run_id = api.trigger(words, {f"text_{number}": text for number, text in enumerate(HOSTILE)})
    with shown(pytestconfig):
        follow(api, [(words, run_id)], "Hostile words")
    given = [f"--text-{number}={text}" for number, text in enumerate(HOSTILE)]
    wanted = [hashlib.sha256(word.encode()).hexdigest() for word in given]
    tasks = api.tasks(words, run_id)
    assert {task.task_id for task in tasks} == {"by_ssh", "by_docker"}
    for task in tasks:
        assert re.findall(r"word ([0-9a-f]{64})", "\n".join(api.log(words, run_id, task))) == wanted, task.task_id


@pytest.fixture
def ninth(project: Path, api: AirflowApi) -> Iterator[str]:
    """The valid case that uses the whole dialect, added to the running Airflow as files alone."""
    case = REPOSITORY / "tests/pipelines/valid/ninth"
    defaults = project / "pipelines/defaults.yaml"
    right = defaults.read_text(encoding="utf-8")
    shutil.copytree(case, project / "pipelines", dirs_exist_ok=True)
    try:
        api.wait(lambda: {"ninth", "after_ninth"} <= set(api.dags()), "both DAGs are there")
        yield "ninth"
    finally:
        shutil.rmtree(project / "pipelines/cases")
        defaults.write_text(right, encoding="utf-8")
        api.wait(lambda: "ninth" not in api.dags(), "they are gone")


def test_a_ninth_dag_of_yaml_alone_runs_with_groups_mapped_tasks_classes_and_assets(
    ninth: str, stack: Stack, api: AirflowApi, pytestconfig: pytest.Config
) -> None:
    for day in (dt.date(2020, 10, 1), dt.date(2020, 10, 2)):  # which it sends
        write_day(stack.log_folder, day, 0.1, 1)
    run_id = api.trigger(ninth, {"name": "Ada", "size": "large"})
    with shown(pytestconfig):
        follow(api, [(ninth, run_id)], "The ninth DAG")
    ended = [task.task_id for task in api.tasks(ninth, run_id) if task.state == "success"]
    mapped = {"words.say": 2, "words.shout": 2, "send": 2}
    assert {name: ended.count(name) for name in mapped} == mapped
    path = f"dags/{ninth}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances/words.say/logs/1"
    said = api.call("GET", f"{path}?map_index=1&full_content=true")
    assert "goodbye Ada, large" in json.dumps(said)
    started = "the asset has started the other DAG"
    api.wait(lambda: api.call("GET", "dags/after_ninth/dagRuns")["dag_runs"], started)


LATE = """\
dag_id: late
description: Is tried twice, and ends when somebody has read that it is late
schedule: "0 15 * * *"
deadline: {{by: "15:30", within_minutes: 0.02, notify: [late]}}
default_args: {{retry_delay_minutes: 0.01, retry_exponential_backoff: false}}
tasks:
  - task_id: work
    operator: airflow.providers.standard.operators.bash.BashOperator
    advanced: {{bash_command: "test {{{{ ti.try_number }}}} -eq 2"}}
    retries: 1
    on_retry: [retried]
    on_success: [done]
  - task_id: until_read
    operator: airflow.providers.standard.operators.bash.BashOperator
    advanced: {{bash_command: "until test -e {read}; do sleep 0.2; done"}}
    execution_timeout_minutes: 5
    dependencies: [work]
"""
ON_TIME = """\
dag_id: on_time
description: Is done long before its deadline
schedule: null
deadline: {within_minutes: 60, notify: [late]}
tasks:
  - task_id: start
    operator: EmptyOperator
"""


@pytest.fixture
def told(project: Path, api: AirflowApi, tmp_path: Path) -> Iterator[Path]:
    """The file in which the notifiers of two DAGs, late and on_time, write; `late` ends when `read` lies beside it."""
    file = tmp_path / "told"
    lines = {
        "late": "late {{ dag_run.dag_id }} {{ run_id }} {{ deadline.deadline_time }}",
        "retried": "retried {{ ti.task_id }} {{ ti.try_number }}",
        "done": "done {{ ti.task_id }} {{ ti.try_number }}",
    }
    arguments = {name: {"file": str(file), "line": line} for name, line in lines.items()}
    notifiers = {name: {"class": "jobs.tell.Tell", "arguments": given} for name, given in arguments.items()}
    defaults = project / "pipelines/defaults.yaml"
    right = defaults.read_text(encoding="utf-8")
    added = {
        project / "jobs/tell.py": program("tells_a_file"),
        project / "pipelines/late.yaml": LATE.format(read=tmp_path / "read"),
        project / "pipelines/on_time.yaml": ON_TIME,
    }
    with in_airflow(api, {"late", "on_time"}, added, defaults, f"{right}notifiers: {json.dumps(notifiers)}\n"):
        yield file


def test_a_deadline_that_is_missed_is_reported_and_one_that_is_kept_is_not(
    told: Path, api: AirflowApi, pytestconfig: pytest.Config
) -> None:
    on_time, late = api.trigger("on_time", {}), "of_a_day"
    run = {"dag_run_id": late, "logical_date": "2024-05-05T15:00:00Z"}
    api.call("POST", "dags/late/dagRuns", run)
    said = partial(_lines, told)

    def missed() -> list[str]:
        return sorted(line for line in said() if line.startswith(f"late late {late} "))

    api.wait(lambda: len(missed()) == 2, "both missed deadlines are told while the run goes on")
    by, within = missed()
    assert re.search(r" 2024-05-05.15:30", by), "counted from the run's logical date"
    assert " 2024-05-05" not in within, "counted from the run's start"
    assert api.run_state("late", late) == "running"
    (told.parent / "read").touch()
    with shown(pytestconfig):
        follow(api, [("on_time", on_time), ("late", late)], "Deadlines")
    assert sorted(said()) == ["done work 2", by, within, "retried work 1"]
    deadlines = {dag_id: _deadlines(api, dag_id, run_id) for dag_id, run_id in (("late", late), ("on_time", on_time))}
    assert deadlines == {
        "late": [True, True],
        "on_time": [],
    }  # whether it was missed; Airflow forgets one that was kept


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _deadlines(api: AirflowApi, dag_id: str, run_id: str) -> list[bool]:
    found = api.call("GET", f"/ui/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/deadlines")["deadlines"]
    return [deadline["missed"] for deadline in found]


def test_plan_says_what_airflow_and_the_files_have_of_each_other(stack: Stack, api: AirflowApi, project: Path) -> None:
    access = {"AIRFLOW_API_URL": api.url, "AIRFLOW_API_TOKEN": api.token()}
    words = [sys.executable, "-m", "pipeline_config", "plan", "--against", "airflow"]

    def planned() -> list[str]:
        asked = {**stack.airflow.environment(), **access}
        done = subprocess.run(words, env=asked, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 2), done.stderr
        return done.stdout.splitlines()

    assert planned() == ["nothing changes against airflow"]
    variable = api.call("GET", "variables/SPARK_CORES")
    api.call("DELETE", "variables/SPARK_CORES")
    api.call("POST", "pools", {"name": "nobodys", "slots": 3})
    try:
        value = json.dumps(variable["value"])
        assert planned() == [f"+ variable SPARK_CORES {value}", "- pool nobodys"]
    finally:
        api.call("DELETE", "pools/nobodys")
        api.call("POST", "variables", {"key": "SPARK_CORES", "value": variable["value"]})
