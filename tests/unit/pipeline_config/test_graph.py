"""`graph`: Mermaid of one DAG and of all; the README's picture is the command's own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pipeline_config.errors import CommandError
from pipeline_config.graph import graph
from pipeline_config.project import ROOT, Project, load_project

PROJECT = load_project()
MARKER = "<!-- made by: python -m pipeline_config graph -->\n```mermaid\n"


@pytest.fixture(scope="module")
def ninth(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The eight pipelines with the valid cases, which have groups, mapped tasks, assets and a time zone."""
    root = tmp_path_factory.mktemp("ninth")
    shutil.copytree(ROOT / "pipelines", root / "pipelines")
    shutil.copytree(ROOT / "tests/pipelines/valid/ninth", root / "pipelines", dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests/pipelines/valid/assets", root / "pipelines", dirs_exist_ok=True)
    shutil.copy(ROOT / "tests/pipelines/valid/nightly.yaml", root / "pipelines/cases")
    return load_project(root)


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_the_readmes_picture_is_made_by_the_command(page: str) -> None:
    _, marker, rest = (ROOT / page).read_text(encoding="utf-8").partition(MARKER)
    assert marker, "the page has no picture below its marker"
    assert rest.partition("\n```")[0] == graph(PROJECT), "put what the command says into the README"


def test_the_picture_has_each_dag_once_and_stays_readable() -> None:
    nodes = re.findall(r'^  (\w+)[\[(>].*"', graph(PROJECT), re.MULTILINE)
    assert len(nodes) == len(set(nodes)) <= 25
    assert {f"dag_{document.data['dag_id']}" for document in PROJECT.pipelines} <= set(nodes)


def test_data_lead_from_writer_to_reader() -> None:
    arrows = [line.strip() for line in graph(PROJECT).splitlines() if " --> " in line]
    node = "lake_S3_CURATED_STREAM_PATH_2f_clicks"
    assert [arrow for arrow in arrows if node in arrow] == [
        f"dag_tripclick_streaming_curated --> {node}",
        f"{node} --> dag_tripclick_analytics_mart_etl",
        f"{node} --> dag_tripclick_analytics_mart_realtime",
    ]


def test_triggers_are_numbered_by_their_steps(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    path = tmp_path / "pipelines/orchestration/tripclick_daily_pipeline.yaml"
    text = path.read_text().replace("dependencies: [trigger_streaming]", "dependencies: [trigger_producer_batch]")
    path.write_text(text.replace("dependencies: [trigger_batch]", "dependencies: [trigger_batch, trigger_streaming]"))
    triggers = [
        line.split()[2] + line.split()[-1] for line in graph(load_project(tmp_path)).splitlines() if "-." in line
    ]
    assert triggers == [
        "1dag_tripclick_producer_batch",
        "2dag_tripclick_streaming_curated",
        "2dag_tripclick_spark_archive_raw_batch",
        "3dag_tripclick_analytics_mart_etl",
        "4dag_tripclick_load_postgres",
    ]


def test_tasks_of_one_dag() -> None:
    assert graph(PROJECT, "tripclick_load_postgres").splitlines() == [
        "flowchart LR",
        '  task_start(["start"])',
        '  task_load_to_postgres["load_to_postgres<br>load_postgres"]',
        '  task_end(["end"])',
        "  task_start --> task_load_to_postgres",
        "  task_load_to_postgres --> task_end",
    ]


def test_a_group_is_a_box_and_a_mapped_task_says_over_what(ninth: Project) -> None:
    lines = graph(ninth, "ninth").splitlines()
    start = lines.index('  subgraph group_words["words"]')
    assert lines[start + 1 : start + 5] == [
        '    task_list_words["list_words<br>PythonOperator"]',
        '    task_say[["say<br>BashOperator<br>for each bash_command"]]',
        '    task_shout[["shout<br>PythonOperator<br>for each op_args"]]',
        "  end",
    ]
    assert {"  task_start --> group_words", "  group_words --> task_send"} <= set(lines)


def test_an_asset_leads_to_the_dag_that_it_starts(ninth: Project) -> None:
    lines = graph(ninth).splitlines()
    node = next(line.split(">")[0].strip() for line in lines if '>"asset<br>s3://tripclick/greetings"]' in line)
    assert {f"  dag_ninth --> {node}", f"  {node} --> dag_after_ninth"} <= set(lines)


def test_a_box_is_in_the_box_of_the_group_around_it(ninth: Project) -> None:
    lines = graph(ninth, "updates_three").splitlines()
    start = lines.index('  subgraph group_marts["marts"]')
    assert lines[start + 1 : start + 4] == [
        '    task_both["both<br>BashOperator"]',
        '    subgraph group_hot_marts["hot_marts"]',
        '      task_list_hot["list_hot<br>PythonOperator"]',
    ]
    assert lines.count("  group_hot_marts --> group_cold_marts") == 1


def test_every_asset_of_a_condition_leads_to_its_dag_and_its_clock_is_shown(ninth: Project) -> None:
    lines = graph(ninth).splitlines()
    assert '  dag_after_any["after_any<br>0 6 * * * Asia/Seoul"]' in lines
    started = [line for line in lines if line.endswith(("--> dag_after_any", "--> dag_after_all"))]
    assert len(started) == 2, "three assets of the same writer and readers are one node"
    assert any("cold" in line and "clicks" in line and "hot" in line for line in lines)


def test_a_clock_has_its_time_zone(ninth: Project) -> None:
    assert '  dag_nightly["nightly<br>0 0 * * * Asia/Seoul"]' in graph(ninth).splitlines()


def test_names_cannot_break_the_picture() -> None:
    (document,) = (one for one in PROJECT.pipelines if one.data["dag_id"] == "tripclick_load_postgres")
    pipeline = {**document.data, "tasks": [{"task_id": 'a-b"]<x>', "operator": "EmptyOperator"}]}
    project = Project(ROOT, PROJECT.catalog, PROJECT.defaults, {}, [type(document)(document.file, data=pipeline)])
    (node,) = graph(project, "tripclick_load_postgres").splitlines()[1:]
    assert node == '  task_a_2d_b_22__5d__3c_x_3e_(["a-b#34;]#60;x#62;"])'


def test_an_unknown_dag_is_named_with_the_nearest_one() -> None:
    with pytest.raises(CommandError, match=r"no DAG is called 'tripclick_load_postgre'; did you mean 'tripclick_load_"):
        graph(PROJECT, "tripclick_load_postgre")
