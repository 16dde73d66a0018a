"""`migrate`: what of dag-factory's own dialect becomes a pipeline, and what is said of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline_config.__main__ import main
from pipeline_config.dag_factory_values import assets
from pipeline_config.project import ROOT, load_project

WHOLE = """\
default:
  default_args:
    owner: analysts
    start_date: 2024-11-11
    retries: 1
    retry_delay:
      __type__: datetime.timedelta
      minutes: 5
  catchup: yes

greets:
  description: "Greets
    everybody"
  schedule: "0 3 * * *"
  timezone: Asia/Seoul
  dagrun_timeout: 600
  tags: [example]
  params:
    name: you
    size:
      __type__: airflow.models.param.Param
      default: 3
      type: integer
      minimum: 1
      description: How much
  task_groups:
    - group_name: words
      tooltip: Words and what is made of them
      dependencies: [first]
    - group_name: inner
      parent_group_name: words
  tasks:
    - task_id: first
      operator: airflow.operators.dummy.DummyOperator
    - task_id: say
      operator: airflow.operators.bash_operator.BashOperator
      bash_command: 'echo "hello $NAME $SIZE"'
      env: {NAME: "{{ params.name }}", SIZE: "{{ params.size }}"}
      task_group_name: words
      execution_timeout: 90 minutes
      outlets: [{__type__: airflow.sdk.Asset, uri: "s3://tripclick/said", name: said}]
      trigger_rule: all_done
    - task_id: sort
      decorator: airflow.decorators.task
      python_callable: builtins.sorted
      expand: {iterable: [[2, 1], [3]]}
      task_group_name: inner
    - task_id: shout
      operator: airflow.operators.python.PythonOperator
      python_callable: builtins.print
      partial: {op_kwargs: {end: "!"}}
      expand: {op_args: words.inner.sort.output}
      dependencies: [words]
    - task_id: load
      operator: airflow.operators.trigger_dagrun.TriggerDagRunOperator
      trigger_dag_id: tripclick_load_postgres
      conf: {in_full: true}
      dependencies: [shout]
    - task_id: end
      operator: airflow.operators.empty.EmptyOperator
      dependencies: [load]

follows:
  schedule:
    datasets:
      __or__:
        - __and__: ["s3://tripclick/said", "s3://tripclick/done"]
        - s3://tripclick/other
  tasks:
    only: {operator: airflow.operators.empty.EmptyOperator}
"""
PARTLY = """\
left:
  schedule: {__type__: my.Timetable}
  default_args:
    start_date: 2 days
    on_failure_callback: my.callback
  concurrency: 4
  tasks:
    - task_id: begin
      operator: airflow.operators.empty.EmptyOperator
    - task_id: code
      operator: airflow.operators.python.PythonOperator
      python_callable_name: run
      python_callable_file: $HOME_DIR/code.py
      op_kwargs: {at: {__type__: my.Path}}
      dependencies: [begin]
    - task_id: flow
      decorator: airflow.decorators.task
      python_callable: my.run
      value: +begin
    - task_id: ask
      operator: airflow.providers.ssh.operators.ssh.SSHOperator
      ssh_conn_id: elsewhere
      command: "true"
      pool: nobodys
      execution_timeout_secs: 60
      dependencies: [flow, code]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The nine pipelines."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    return tmp_path


def migrated(root: Path, text: str, code: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What it says of a file with this text."""
    file = root / "factory.yml"
    file.write_text(text, encoding="utf-8")
    assert main(["migrate", str(file), "--folder", "moved", "--root", str(root)]) == code
    said = capsys.readouterr()
    return (said.out + said.err).replace(f"{root}/", "").splitlines()


def test_a_file_that_has_a_form_here_becomes_pipelines_that_pass_the_check(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = migrated(root, WHOLE, 0, capsys)
    assert [line for line in said if "no task here updates asset" not in line] == [
        "pipelines/moved/greets.yaml: written",
        "pipelines/moved/follows.yaml: written",
    ]
    project = load_project(root)
    assert main(["check", "--root", str(root)]) == 0
    greets = project.pipeline("greets").place.document.data
    assert {key: value for key, value in greets.items() if key != "tasks"} == {
        "dag_id": "greets",
        "description": "Greets everybody",
        "schedule": "0 3 * * *",
        "timezone": "Asia/Seoul",
        "start_date": "2024-11-11",
        "catchup": True,
        "dagrun_timeout_minutes": 10,
        "default_args": {"owner": "analysts", "retries": 1, "retry_delay_minutes": 5},
        "tags": ["example"],
        "params": {
            "name": {"type": "string", "default": "you", "description": "name"},
            "size": {"type": "integer", "minimum": 1, "default": 3, "description": "How much"},
        },
        "task_groups": {
            "words": {"description": "Words and what is made of them", "dependencies": ["first"]},
            "inner": {"group": "words"},
        },
    }
    python = "airflow.providers.standard.operators.python.PythonOperator"
    assert greets["tasks"] == [
        {"task_id": "first", "operator": "EmptyOperator"},
        {
            "task_id": "say",
            "operator": "airflow.providers.standard.operators.bash.BashOperator",
            "group": "words",
            "advanced": {
                "bash_command": 'echo "hello $NAME $SIZE"',
                "env": {"NAME": "{{ params.name }}", "SIZE": "{{ params.size }}"},
            },
            "outlets": ["s3://tripclick/said"],
            "execution_timeout_minutes": 90,
            "trigger_rule": "all_done",
        },
        {
            "task_id": "sort",
            "operator": python,
            "group": "inner",
            "advanced": {"python_callable": "builtins.sorted"},
            "for_each": {"op_kwargs": [{"iterable": [2, 1]}, {"iterable": [3]}]},
        },
        {
            "task_id": "shout",
            "operator": python,
            "advanced": {"op_kwargs": {"end": "!"}, "python_callable": "builtins.print"},
            "for_each": {"op_args": "sort"},
            "dependencies": ["words"],
        },
        {
            "task_id": "load",
            "operator": "TriggerDagRunOperator",
            "trigger_dag_id": "tripclick_load_postgres",
            "conf": {"in_full": True},
            "dependencies": ["shout"],
        },
        {"task_id": "end", "operator": "EmptyOperator", "dependencies": ["load"]},
    ]
    follows = project.pipeline("follows").place.document.data
    assert "catchup" not in follows
    assert follows["schedule"] == {
        "any": [{"all": ["s3://tripclick/said", "s3://tripclick/done"]}, "s3://tripclick/other"]
    }
    assert follows["tasks"] == [{"task_id": "only", "operator": "EmptyOperator"}]


APART = """\
apart:
  timetable:
    __type__: airflow.timetables.trigger.CronTriggerTimetable
    __args__: [0 1 * * 3]
    timezone: Asia/Seoul
  tasks:
    one: {operator: airflow.operators.bash.BashOperator, bash_command: "true"}
    two: {operator: airflow.operators.bash.BashOperator, bash_command: "true"}
    three: {operator: airflow.operators.bash.BashOperator, bash_command: "true", dependencies: [two]}
both:
  schedule:
    datasets: (s3://a/x & s3://a/y & s3://a/z) | s3://b/x
    timetable: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: 0 1 * * 5, timezone: UTC}
  tasks: {only: {operator: airflow.operators.empty.EmptyOperator}}
"""


def test_timetables_conditions_and_tasks_that_are_connected_to_no_other_have_a_form(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(root, APART, 0, capsys)
    project = load_project(root)
    apart, both = project.pipeline("apart").place.document.data, project.pipeline("both").place.document.data
    assert (apart["schedule"], apart["timezone"]) == ("0 1 * * 3", "Asia/Seoul")
    assert {task["task_id"]: task.get("dependencies") for task in apart["tasks"]} == {
        "start": None,
        "one": ["start"],
        "two": ["start"],
        "three": ["two"],
        "end": ["one", "three"],
    }
    assert both["schedule"] == {
        "any": [{"all": ["s3://a/x", "s3://a/y", "s3://a/z"]}, "s3://b/x"],
        "cron": "0 1 * * 5",
    }


@pytest.mark.parametrize(
    ("text", "found"),
    {
        "s3://a/x?y=1&z=2": None,
        "s3://a/x": "s3://a/x",
        "s3://a/x & (": None,
        "s3://a/x - s3://a/y": None,
        "s3://a/x | s3://a/y": {"any": ["s3://a/x", "s3://a/y"]},
    }.items(),
)
def test_a_condition_of_assets_as_text(text: str, found: object) -> None:
    assert assets(text) == found


def test_a_dags_own_schedule_is_over_that_of_default(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = "tasks: {a: {operator: airflow.operators.empty.EmptyOperator}}"
    own = f'a: {{schedule_interval: "0 9 * * *", {empty}}}'
    migrated(root, f'default: {{schedule: "@hourly"}}\n{own}\nb: {{{empty}}}\n', 0, capsys)
    project = load_project(root)
    assert [project.pipeline(name).schedule for name in "ab"] == ["0 9 * * *", "@hourly"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("ls $LAKE", "$LAKE"),
        ("ls ${LAKE}/clicks", "${LAKE}"),
        ("LAKE=/lake; ls $LAKE; for DAY in 1 2; do ls $DAY; done; ls $OWN ${OTHER:-x} $1", ""),
    ],
)
def test_what_dag_factory_fills_in_of_a_command_is_reported(
    root: Path, capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    task = f"{{operator: airflow.operators.bash.BashOperator, bash_command: '{command}', env: {{OWN: '1'}}}}"
    lines = migrated(root, f"a: {{schedule: null, tasks: {{a: {task}}}}}\n", bool(said), capsys)
    notes = [line for line in lines if "dag-factory fills in" in line]
    assert [f"fills in {said}, this project does not" in line for line in notes] == [True] * bool(said)


def test_what_one_file_left_to_do_does_not_block_the_next(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    migrated(root, PARTLY, 1, capsys)
    assert main(["check", "--root", str(root)]) == 1
    other = "other: {schedule: null, tasks: {a: {operator: airflow.operators.empty.EmptyOperator}}}\n"
    assert "pipelines/moved/other.yaml: written" in migrated(root, other, 0, capsys)
    assert main(["new", "tenth", "--job", "load_postgres", "--root", str(root)]) == 0
    catalog = root / "pipelines/catalog.yaml"
    catalog.write_text(catalog.read_text(encoding="utf-8").replace("variables:", "variable:"), encoding="utf-8")
    capsys.readouterr()
    line, first = migrated(root, other.replace("other", "third"), 2, capsys)
    assert line == "error: the check finds 1 problem; fix them first, the first is"
    assert first.startswith("pipelines/catalog.yaml:")


def test_what_has_no_equivalent_is_reported_at_its_place(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = migrated(root, PARTLY, 1, capsys)
    assert [line.split(" (")[0] for line in said if line.startswith("factory.yml")] == [
        "factory.yml:1:1: warning: connection elsewhere is not in pipelines/catalog.yaml",
        "factory.yml:1:1: warning: pool nobodys is not in pipelines/catalog.yaml",
        "factory.yml:2:3: warning: this schedule has no equivalent here",
        "factory.yml:4:5: warning: start_date '2 days' is not a fixed date",
        "factory.yml:5:5: warning: the callback on_failure_callback my.callback is not converted",
        "factory.yml:6:3: warning: concurrency has no equivalent here",
        "factory.yml:13:7: warning: task 'code': a function is named by its import path, code.run",
        "factory.yml:14:7: warning: task 'code': the value of op_kwargs is built by code",
        "factory.yml:17:7: warning: task 'flow': a function that is given other tasks' results is not converted; "
        "an EmptyOperator takes its place",
    ]
    assert "pipelines/moved/left.yaml:5:15: connection elsewhere is not in pipelines/catalog.yaml" in "\n".join(said)
    left = load_project(root).pipeline("left").place.document.data
    assert left["tasks"][2] == {"task_id": "flow", "operator": "EmptyOperator", "dependencies": ["begin"]}
    assert left["tasks"][3]["execution_timeout_minutes"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {tasks: [1]}", "factory.yml:1:13: this is a whole number, where dag-factory has a mapping"),
        ("a: 1", "it has no dag-factory DAG"),
        ("- a", "factory.yml:1:1: must be a mapping"),
        ("a: 'x", "factory.yml:1:4: not YAML"),
        ("a: !!python/name:os.system x", "could not determine a constructor for the tag"),
        (
            "a: &a [1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
            + "".join(
                f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n" for old, new in zip("bcdefg", "cdefgh", strict=True)
            ),
            "does an alias expand without end?",
        ),
        ("tripclick_load_postgres: {tasks: {}}", "DAG tripclick_load_postgres already exists"),
    ],
)
def test_a_file_that_cannot_be_migrated_is_reported_in_one_line_and_nothing_is_written(
    text: str, words: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = migrated(root, text, 2, capsys)
    assert words in line
    assert not (root / "pipelines/moved").exists()
