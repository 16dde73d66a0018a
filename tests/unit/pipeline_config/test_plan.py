"""`plan`: what the working tree changes against a revision, in a real repository of git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline_config.plan import plan, run
from pipeline_config.project import ROOT

DAILY = "orchestration/tripclick_daily_pipeline.yaml"
BATCH = "ingestion/tripclick_producer_batch.yaml"
LOAD = "mart/tripclick_load_postgres.yaml"
NINTH = ROOT / "tests/pipelines/valid/ninth"


@pytest.fixture(autouse=True)
def _no_git_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook's own settings would name another repository, and a person's may want a signature."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def git(folder: Path, *arguments: str) -> None:
    """Run git, as somebody."""
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    """Everything as it is now."""
    git(folder, "add", "--all", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "as it is")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the pipelines committed."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def edit(root: Path, file: str, old: str, new: str) -> None:
    """Replace a text that stands in a file of pipelines/."""
    path = root / "pipelines" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def restore(root: Path) -> None:
    """The pipelines as they are in the project, whatever was committed."""
    shutil.copytree(ROOT / "pipelines", root / "pipelines", dirs_exist_ok=True)


def test_a_working_tree_without_a_change_has_an_empty_plan(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(root, DAILY, "# midnight in Korea", "# in Korea it is midnight then")
    (root / "pipelines/load").mkdir()
    git(root, "mv", f"pipelines/{LOAD}", "pipelines/load/tripclick_load_postgres.yaml")
    assert run(root, "HEAD", None) == 0
    assert capsys.readouterr().out == "nothing changes against HEAD\n"


def test_a_change_is_one_line_and_exit_code_2(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(root, DAILY, '"0 15 * * *"', '"0 16 * * *"')
    assert run(root, "HEAD", "production") == 2
    assert capsys.readouterr().out == '~ tripclick_daily_pipeline: schedule "0 15 * * *" → "0 16 * * *"\n'
    assert run(root, "HEAD", "local") == 0  # it has no clock


CHANGES = {
    "schedule of some environments": (
        (DAILY, "0 15 * * *", "0 16 * * *"),
        ['~ tripclick_daily_pipeline: schedule "0 15 * * *" → "0 16 * * *" (in production)'],
    ),
    "timezone, and what else a DAG may say of its runs": (
        (DAILY, "tags:", "timezone: Asia/Seoul\ncatchup: true\ndagrun_timeout_minutes: 600\ntags:"),
        [
            "~ tripclick_daily_pipeline: catchup false → true",
            '+ tripclick_daily_pipeline: timezone "Asia/Seoul"',
            "+ tripclick_daily_pipeline: dagrun_timeout 600 min",
        ],
    ),
    "assets and a clock, where there are clocks": (
        (LOAD, "schedule: null", 'schedule: {any: ["s3://tripclick/mart"], cron: "0 6 * * *"}'),
        [
            '~ tripclick_load_postgres: schedule none → {"any": ["s3://tripclick/mart"]}'
            " (in local, local_without_docker)",
            '~ tripclick_load_postgres: schedule none → {"any": ["s3://tripclick/mart"], "cron": "0 6 * * *"}'
            " (in production)",
        ],
    ),
    "deadline": (
        (LOAD, "tags:", "deadline: {within_minutes: 90, notify: []}\ntags:"),
        ['+ tripclick_load_postgres: deadline {"notifiers": [], "within": "90 min"}'],
    ),
    "alerts of a task": (
        (LOAD, "    pool:", "    on_retry: []\n    priority_weight: 2\n    pool:"),
        [
            "+ tripclick_load_postgres: task load_to_postgres: priority_weight 2",
            "+ tripclick_load_postgres: task load_to_postgres: on_retry_callback "
            '{"callback": "pipeline_config.operators.alerts.notify", "notifiers": []}',
        ],
    ),
    "option": (
        (BATCH, '"{{ params.last_date }}"', '"{{ params.last_date or params.first_date }}"'),
        [
            "~ tripclick_producer_batch: task producer_server0_batch: "
            '--last-date "{{ params.last_date }}" → "{{ params.last_date or params.first_date }}"'
        ],
    ),
    "option added": (
        (
            LOAD.replace("load_postgres", "analytics_mart_realtime"),
            "arguments:\n",
            "arguments:\n      until-caught-up: true\n",
        ),
        ['+ tripclick_analytics_mart_realtime: task streaming_to_analytics_mart_realtime: --until-caught-up "true"'],
    ),
    "param": (
        (BATCH, 'default: "2020-10-01", description: "Last', 'default: "2020-10-02", description: "Last'),
        ['~ tripclick_producer_batch: param last_date: default "2020-10-01" → "2020-10-02"'],
    ),
    "conf of a trigger": (
        (DAILY, "conf: {until_caught_up: true}", "conf: {until_caught_up: true, run_minutes: 5}"),
        ["+ tripclick_daily_pipeline: task trigger_streaming: conf.run_minutes 5"],
    ),
    "dependency": (
        (DAILY, "dependencies: [trigger_batch]", "dependencies: [trigger_batch, trigger_streaming]"),
        ["+ tripclick_daily_pipeline: task trigger_analytics_mart: waits for trigger_streaming"],
    ),
    "default of an operator": (
        ("defaults.yaml", "execution_timeout_minutes: 1440", "execution_timeout_minutes: 720"),
        [
            f"~ tripclick_producer_{mode}: task producer_server0_{mode}: execution_timeout 1440 min → 720 min"
            " (in local, production)"
            for mode in ("batch", "realtime")
        ],
    ),
    "command template": (
        ("defaults.yaml", "--conf spark.log.level=ERROR", "--conf spark.log.level=WARN"),
        [
            f'~ tripclick_{dag}: task {task}: command "--conf spark.log.level=ERROR" → "--conf spark.log.level=WARN"'
            for dag, task in (
                ("analytics_mart_etl", "etl_to_analytics_mart"),
                ("analytics_mart_realtime", "streaming_to_analytics_mart_realtime"),
                ("load_postgres", "load_to_postgres"),
                ("search_quality", "etl_to_search_marts"),
                ("search_quality", "load_to_postgres"),
                ("spark_archive_raw_batch", "batch_to_archive_raw"),
                ("streaming_curated", "streaming_to_curated_stream"),
            )
        ],
    ),
    "value of an environment": (
        ("environments/local.yaml", "{host: 127.0.0.1, port", "{host: localhost, port"),
        ['~ environment local, local_without_docker: connection spark_ssh: host "127.0.0.1" → "localhost"'],
    ),
    "change by an environment": (
        ("environments/production.yaml", "tripclick-producer:0.1.0", "tripclick-producer:0.2.0"),
        [
            f"~ tripclick_producer_{mode}: task producer_server0_{mode}: "
            'image "tripclick-producer:0.1.0" → "tripclick-producer:0.2.0" (in production)'
            for mode in ("batch", "realtime")
        ],
    ),
    "pool": (
        ("catalog.yaml", "archive_raw_writer: {slots: 1", "archive_raw_writer: {slots: 2"),
        ["~ catalog: pool archive_raw_writer: slots 1 → 2"],
    ),
    "words of the catalog": (("catalog.yaml", "Bootstrap servers", "First servers"), []),
}


@pytest.mark.parametrize("case", CHANGES)
def test_each_kind_of_change_is_described_in_words(case: str, root: Path) -> None:
    (file, old, new), expected = CHANGES[case]
    edit(root, file, old, new)
    assert plan(root, "HEAD") == expected


def test_a_command_that_differs_only_in_its_order_is_shown_whole(root: Path) -> None:
    edit(root, "defaults.yaml", "jobs/spark/{job}.py {arguments}", "{arguments} jobs/spark/{job}.py")
    lines = plan(root, "HEAD")
    assert len(lines) == 7
    assert lines[0].startswith('~ tripclick_analytics_mart_etl: task etl_to_analytics_mart: command "cd {{ ')


def test_tasks_and_what_they_use_come_and_go(root: Path) -> None:
    shutil.copytree(NINTH, root / "pipelines", dirs_exist_ok=True)
    commit(root)
    ninth = "cases/ninth.yaml"
    edit(root, ninth, "  - task_id: remote\n", "  - task_id: distant\n")
    edit(root, ninth, "dependencies: [remote]", "dependencies: [distant]")
    edit(root, ninth, '["2020-10-01", "2020-10-02"]', '["2020-10-01", "2020-10-02", "2020-10-02"]')
    edit(root, ninth, "on_failure: [mail]", "retries: 2")
    edit(root, ninth, "retries: 1, ", "")
    edit(root, ninth, "    pool: curated_stream_writer\n", "")
    edit(root, ninth, "    group: words\n    advanced:\n      env", "    advanced:\n      env")
    edit(root, ninth, "dependencies: [words]", "dependencies: [words, say]")
    assert plan(root, "HEAD", "production") == [
        "~ ninth: default_args.retries 1 → 2",
        "~ ninth: default_args.on_failure_callback.notifiers "
        '[{"arguments": {"from_email": "airflow@example.org", "html_content": "Run {{ run_id }}", '
        '"subject": "{{ dag.dag_id }}.{{ ti.task_id }} failed", "to": "data-platform@example.org"}, '
        '"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"}] → []',
        '- ninth: task say: task_group_name "words"',
        '- ninth: task send: pool "curated_stream_writer"',
        "+ ninth: task send: waits for say",
        "~ ninth: task send: 2 → 3 instances",
        "- ninth: task remote",
        "- ninth: task end: waits for remote",
        "+ ninth: task end: waits for distant",
        "+ ninth: task distant",
    ]


def test_dags_come_go_and_get_another_name(root: Path) -> None:
    (root / "pipelines" / LOAD).unlink()
    edit(root, DAILY, "    trigger_dag_id: tripclick_load_postgres", "    trigger_dag_id: tripclick_load")
    edit(root, BATCH, "description:", "description: ")  # nothing
    path = root / "pipelines/mart/tripclick_load.yaml"
    text = (ROOT / "pipelines" / LOAD).read_text(encoding="utf-8")
    path.write_text(text.replace("dag_id: tripclick_load_postgres", "dag_id: tripclick_load"), encoding="utf-8")
    (root / "pipelines/hello.yaml").write_text(
        "dag_id: hello\ndescription: Greets\nschedule: '@daily'\ntasks:\n  - {task_id: one, operator: EmptyOperator}\n"
    )
    assert plan(root, "HEAD") == [
        '+ hello: a new DAG, schedule "@daily", tasks one',
        "~ tripclick_daily_pipeline: task trigger_load_postgres: "
        'trigger_dag_id "tripclick_load_postgres" → "tripclick_load"',
        "+ tripclick_load: a new DAG to Airflow, tripclick_load_postgres under a new name",
        "- tripclick_load_postgres: the DAG is removed; its past runs stay in Airflow",
    ]


def test_environments_come_and_go(root: Path) -> None:
    folder = root / "pipelines/environments"
    (folder / "local_without_docker.yaml").unlink()
    (folder / "staging.yaml").write_text("description: As production\nextends: production\n")
    expected = ["- environment local_without_docker: removed", "+ environment staging: new"]
    assert plan(root, "HEAD") == expected
    assert plan(root, "HEAD", "staging") == expected[1:]


def test_an_older_revision_is_compared_with_the_working_tree(root: Path) -> None:
    edit(root, BATCH, "tags: [tripclick, ingestion]", "tags: [ingestion, sends]")
    commit(root)
    assert plan(root, "HEAD") == []
    assert plan(root, "HEAD~1") == [
        "- tripclick_producer_batch: tag tripclick",
        "+ tripclick_producer_batch: tag sends",
    ]


def test_a_project_below_the_repositorys_top(tmp_path: Path) -> None:
    below = tmp_path / "data platform"
    shutil.copytree(ROOT / "pipelines", below / "pipelines")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    edit(below, BATCH, "tags: [tripclick, ingestion]", "tags: [tripclick]")
    assert plan(below, "HEAD", "local") == ["- tripclick_producer_batch: tag ingestion"]


def test_a_revision_without_pipelines_makes_all_of_them_new(root: Path) -> None:
    shutil.rmtree(root / "pipelines")
    commit(root)
    restore(root)
    lines = plan(root, "HEAD")
    assert sum("a new DAG" in line for line in lines) == 9
    assert "+ environment production: new" in lines
    assert "+ catalog: variable KAFKA_BROKERS" in lines


@pytest.mark.parametrize("file", ["defaults.yaml", "catalog.yaml"])
def test_a_revision_without_a_shared_file_is_not_a_crash(file: str, root: Path) -> None:
    (root / "pipelines" / file).unlink()
    commit(root)
    restore(root)
    assert any("tripclick_load_postgres: the old file cannot be compared" in line for line in plan(root, "HEAD"))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (LOAD, "    operator: SSHOperator", "    operator: ssh"),
        (LOAD, "tasks:", "steps:"),
        (LOAD, "    job: load_postgres", "    job: [load_postgres]"),
        ("defaults.yaml", "  SSHOperator:", "  SSH:"),
    ],
)
def test_a_file_of_an_older_dialect_is_not_a_crash(file: str, old: str, new: str, root: Path) -> None:
    edit(root, file, old, new)
    commit(root)
    restore(root)
    line = "~ tripclick_load_postgres: the old file cannot be compared: today's compiler cannot read it ("
    assert any(found.startswith(line) for found in plan(root, "HEAD"))


def test_old_environments_that_extend_each_other_are_no_crash(root: Path) -> None:
    file = "environments/local_without_docker.yaml"
    for parent in ("nothing", "local"):
        edit(root, file, "extends: local", f"extends: {parent}")
        edit(root, "environments/local.yaml", "variables:", "extends: local_without_docker\nvariables:")
        commit(root)
        restore(root)
        assert plan(root, "HEAD", "local_without_docker")
        assert plan(root, "HEAD", "production") == []


def test_a_removed_secret_is_not_shown(root: Path) -> None:
    edit(root, "environments/production.yaml", "login: spark}", "login: spark, password: hunter2}")
    commit(root)
    edit(root, "environments/production.yaml", ", password: hunter2", "")
    assert plan(root, "HEAD") == ["- environment production: connection spark_ssh: password ***"]


def refused(root: Path, capsys: pytest.CaptureFixture[str], against: str = "HEAD", where: str | None = None) -> str:
    """What `plan` says when it ends with 1."""
    assert run(root, against, where) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_what_cannot_be_compared_is_reported_in_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "git has no revision 'origin/main': fetch it" in refused(root, capsys, "origin/main")
    assert "git has no revision '--all'" in refused(root, capsys, "--all")
    assert "there is: local, local_without_docker, production" in refused(root, capsys, where="prod")
    edit(root, LOAD, "schedule: null", "schedul: null")
    broken = f"pipelines/{LOAD}:4:1: unknown key 'schedul' (did you mean 'schedule'?)"
    assert f"error: the files have 1 problem, fix them first; the first is pipelines/{LOAD}:" in refused(root, capsys)
    edit(root, LOAD, "schedul: null", "schedule: null\n\ttags: []")
    commit(root)
    restore(root)
    said = refused(root, capsys)
    assert said.startswith("error: the files at HEAD have 1 problem, compare with a revision whose files are valid")
    assert f"pipelines/{LOAD}:5:1: not YAML" in said
    assert broken not in said


def test_outside_of_a_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    assert "is not in a git repository" in refused(tmp_path, capsys)
