"""The command line, the reader and the environments of pipeline_config."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_config import cache
from pipeline_config.__main__ import main
from pipeline_config.errors import UnknownEnvironmentError
from pipeline_config.project import ROOT, load_project
from pipeline_config.reader import read


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A copy of the pipelines with one misspelt key."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    path = tmp_path / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedule: null", "schedul: null"))
    return tmp_path


def test_check_says_one_line_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "9 pipelines, no problem\n"


def test_one_is_no_plural(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = shutil.ignore_patterns("tripclick_[!l]*.yaml")
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines", ignore=others)
    path = tmp_path / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedule: null", "schedule: daily"))
    assert main(["check", "--root", str(tmp_path)]) == 1
    assert "cron 'daily' has 1 field (" in capsys.readouterr().out
    path.write_text(path.read_text().replace("schedule: daily", "schedule: null"))
    assert main(["check", "--root", str(tmp_path)]) == 0
    assert "\n1 pipeline, no problem" in capsys.readouterr().out
    assert main(["fmt", "--root", str(tmp_path), str(path)]) == 0
    assert capsys.readouterr().out == "1 file, all formatted\n"


def test_check_shows_place_line_and_caret(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(broken)]) == 1
    lines = capsys.readouterr().out.splitlines()
    wrong = "pipelines/mart/tripclick_load_postgres.yaml:4:1: unknown key 'schedul' (did you mean 'schedule'?)"
    at = lines.index(wrong)
    assert lines[at + 2 : at + 5] == ["    4 | schedul: null", "      | ^", "    5 | tags: [tripclick, mart]"]


@pytest.mark.parametrize(("no_color", "bold"), [("", True), ("1", False)])
def test_colour_is_for_terminals_and_no_color_is_heard(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_color: str, bold: bool
) -> None:
    assert main(["check", "--root", str(broken)]) == 1
    assert "\033" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert main(["check", "--root", str(broken)]) == 1
    assert ("\033[1m" in capsys.readouterr().out) is bold


def test_a_warning_is_shown_and_refuses_nothing(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedul: null", 'schedule: ["s3://tripclick/nowhere"]'))
    assert main(["check", "--root", str(broken)]) == 0
    out = capsys.readouterr().out
    assert ":4:12: warning: no task here updates asset s3://tripclick/nowhere" in out
    assert out.endswith("9 pipelines, no problem, warnings: 1\n")


def test_without_the_environment_that_airflow_uses_nothing_is_right(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedul: null", "schedule: null"))
    (broken / "pipelines/environments/production.yaml").unlink()
    assert main(["check", "--root", str(broken)]) == 1
    missing = (
        "production.yaml:1:1: the environment that Airflow uses does not exist (set PIPELINE_ENVIRONMENT to one of: "
    )
    assert capsys.readouterr().out == f"pipelines/environments/{missing}local, local_without_docker)\n"
    assert main(["render", "tripclick_load_postgres", "--root", str(broken)]) == 2
    assert missing in capsys.readouterr().err
    monkeypatch.setenv("PIPELINE_ENVIRONMENT", "local")
    assert main(["check", "--root", str(broken)]) == 0


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_a_password_in_an_address_is_an_error_and_not_printed(
    broken: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    path = broken / "pipelines/environments/local.yaml"
    text = re.sub("KAFKA_BROKERS: .*", "KAFKA_BROKERS: tripclick:S3cretPw9@kafka1:9092", path.read_text())
    path.write_text(text)
    assert main(["check", "--root", str(broken), "--format", form, str(path)]) == 1
    out = capsys.readouterr().out
    assert "this looks like a password in an address" in out
    assert "KAFKA_BROKERS: 'tripclick:***@kafka1:9092' is not valid for the type brokers" in out
    assert "S3cretPw9" not in out + " ".join(map(str, cache.load_checked(broken)[1]))


def test_check_of_another_file_does_not_show_it(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = broken / "pipelines/mart/tripclick_analytics_mart_etl.yaml"
    assert main(["check", "--root", str(broken), str(other)]) == 0
    assert "no problem" in capsys.readouterr().out


def test_formats_for_programs(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(broken), "--format", "json"]) == 1
    record = next(r for r in json.loads(capsys.readouterr().out) if "unknown key" in r["message"])
    assert (record["line"], record["column"], record["path"]) == (4, 1, "schedul")
    assert main(["check", "--root", str(broken), "--format", "github"]) == 1
    assert "::error file=pipelines/mart/tripclick_load_postgres.yaml,line=4,col=1::" in capsys.readouterr().out


def test_check_imports_neither_airflow_nor_what_the_jobs_need() -> None:
    script = (
        "import sys; from pipeline_config.__main__ import main; assert main(['check']) == 0; "
        "print(sorted({'airflow', 'pyspark', 'kafka', 'psycopg'} & {name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_import_airflow_writes_addresses_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_KAFKA_PORT", "12345")
    assert main(["import-airflow", "--environment", "local", "--output", str(tmp_path)]) == 0
    variables = json.loads((tmp_path / "variables.json").read_text())
    connections = json.loads((tmp_path / "connections.json").read_text())
    catalog = load_project().catalog
    assert variables["KAFKA_BROKERS"] == "127.0.0.1:12345"
    assert variables.keys() == catalog.variables.keys()
    assert connections.keys() == catalog.connections.keys()
    assert connections["postgres_gold"]["conn_type"] == "postgres"
    assert isinstance(connections["postgres_gold"]["port"], int)
    assert not any("password" in connection for connection in connections.values())


@pytest.mark.parametrize(("owner", "mode"), [(os.geteuid(), 0o1777), (65534, 0o755)], ids=["of all", "of another"])
def test_import_airflow_writes_where_nobody_else_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], owner: int, mode: int
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(mode)
    if os.geteuid() == 0:
        os.chown(folder, owner, -1)
    elif owner != os.geteuid():
        pytest.skip("only root can make a folder of somebody else")
    assert main(["import-airflow", "--environment", "local", "--output", str(folder)]) == 2
    assert f"{folder}: others can write to this folder" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("page", [*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_no_command_of_a_document_uses_a_folder_that_is_everybodys(page: Path) -> None:
    assert "/tmp/" not in page.read_text(encoding="utf-8")  # noqa: S108


def test_unknown_environment_names_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-airflow", "--environment", "prod", "--output", str(tmp_path)]) == 2
    assert "there is: local, local_without_docker, production" in capsys.readouterr().err
    with pytest.raises(UnknownEnvironmentError):
        load_project().environment("prod")


def test_a_missing_value_in_an_environment_is_found(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken / "pipelines/environments/production.yaml"
    path.write_text(path.read_text().replace("  KAFKA_BROKERS:", "  KAFKA_BROKER:"))
    assert main(["check", "--root", str(broken), "--format", "text", str(path)]) == 1
    out = capsys.readouterr().out
    assert "variable KAFKA_BROKERS has no value here" in out
    assert "variable KAFKA_BROKER is not in pipelines/catalog.yaml (did you mean 'KAFKA_BROKERS'?)" in out


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("True", "True"),
        ("true", True),
        ("2020-10-01", "2020-10-01"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("12", 12),
        ("1.5", 1.5),
        ("~", None),
        ("", None),
    ],
)
def test_reader_has_one_meaning_for_each_scalar(text: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"key: {text}\n")
    document = read(path, tmp_path)
    assert document.problems == []
    assert document.data == {"key": value}


def test_aliases_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = tmp_path / "file.yaml"
    path.write_text("\n".join(lines))
    assert "does an alias expand without end?" in read(path, tmp_path).problems[0].message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "pipelines/nosuch.yaml"], "pipelines/nosuch.yaml: there is no such file"),
        (["check", "jobs"], "jobs: the check reads pipelines/**/*.yaml"),
        (["check", "README.md"], "README.md: the check reads pipelines/**/*.yaml"),
        (["new", "catalog"], "catalog.yaml: already exists"),
        (["new", "production", "--folder", "environments"], "--folder environments: it is for environments"),
        (["new", "x", "--folder", "../../elsewhere"], "--folder ../../elsewhere: it is outside of "),
        (["new", "x", "--folder", "catalog.yaml"], "catalog.yaml: already exists"),
        (["new", "x", "--folder", ".hidden"], "--folder .hidden: hidden folders are not read"),
        (
            ["new", "x", "--schedule", "61 * * * *"],
            "--schedule: cron '61 * * * *': '61' is not a valid minute (must be 0",
        ),
        (["new", "x", "--schedule", "nonsense"], "--schedule: cron 'nonsense' has 1 field (5: minute, hour, "),
        (["new", "x", "--schedule", "", "--job", "load_postgres"], "--schedule: cron '' has 0 fields"),
        (["new", "x.yaml", "--folder", "mart"], "'x.yaml': write the dag_id alone, without .yaml"),
        (["import-airflow", "--output", "README.md"], "README.md: cannot be written: File exists"),
    ],
)
def test_a_command_that_cannot_be_done_is_one_line_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    root = tmp_path / "project"
    for name in ("pipelines", "jobs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("jars", "__pycache__"))
    (root / "README.md").write_text("mine", encoding="utf-8")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    monkeypatch.chdir(root)
    assert main([*arguments[:1], "--root", str(root), *arguments[1:]]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert said in err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_new_pipeline_needs_what_all_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "x", "--root", str(tmp_path)]) == 2
    missing = "pipelines/catalog.yaml, pipelines/defaults.yaml, pipelines/environments/production.yaml"
    assert capsys.readouterr().err == f"error: {tmp_path} has no {missing}: write what all pipelines share first\n"
    assert [*tmp_path.iterdir()] == []


def test_a_long_value_is_cut_in_its_message(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text(path.read_text().replace("schedul: null", f"schedule: '{'7' * 5000}'"))
    assert main(["check", "--root", str(broken), "--format", "json"]) == 1
    assert len(capsys.readouterr().out) < 2000


def test_a_folder_means_the_files_in_it(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(broken), str(broken / "pipelines/mart")]) == 1
    assert "unknown key 'schedul'" in capsys.readouterr().out
    assert main(["check", "--root", str(broken), str(broken / "pipelines/ingestion")]) == 0


def test_import_airflow_wants_files_that_are_right_and_every_value(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["import-airflow", "--root", str(broken), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "the check finds " in capsys.readouterr().err
    pipeline = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    pipeline.write_text(pipeline.read_text().replace("schedul: null", "schedule: null"))
    environment = broken / "pipelines/environments/production.yaml"
    environment.write_text(environment.read_text().replace("/data/tripclick/logs", "/data/${LOG_USER}/logs"))
    monkeypatch.delenv("LOG_USER", raising=False)
    assert main(command) == 2
    assert "LOG_USER: production.yaml reads it and has no default" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("LOG_USER", "web")
    assert main(command) == 0
    assert main(command) == 0
    (tmp_path / "out" / "pools.json").write_text("{}", encoding="utf-8")
    assert main(command) == 2
    assert "pools.json: already exists with other contents; remove it first" in capsys.readouterr().err
    assert (tmp_path / "out" / "pools.json").read_text(encoding="utf-8") == "{}"


def test_paths_for_github_count_from_the_repositorys_root(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(broken / "pipelines", broken / "etl/pipelines")
    (broken / ".git").mkdir()
    assert main(["check", "--root", str(broken / "etl"), "--format", "github"]) == 1
    assert "::error file=etl/pipelines/mart/tripclick_load_postgres.yaml," in capsys.readouterr().out


@pytest.mark.parametrize("redirect", ["| true", ">&-", "| cat"])
def test_a_reader_that_goes_away_and_an_ascii_terminal_make_no_traceback(broken: Path, redirect: str) -> None:
    path = broken / "pipelines/mart/tripclick_load_postgres.yaml"
    path.write_text("# →\nschedul: →\n" * 3, encoding="utf-8")
    command = f"{sys.executable} -m pipeline_config check --root {broken} {redirect}"
    result = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env={"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert ("\\u2192" in result.stdout) is (redirect == "| cat")
