"""`make bench-config`: how long the check and the loader take, side by side with what people use otherwise.

Each comparison is interleaved (A, B, A, B, …) in one run; what is shown is the median of each. Exit code 1 when a
ceiling is passed, so run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import importlib
import importlib.util
import itertools
import json
import os
import pprint
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from pipeline_config.compiler import compile_pipeline
from pipeline_config.project import ROOT, Project, load_project

CHECK_SECONDS = 0.35
CHECK_RATIO = 0.9
THOUSAND_SECONDS = 3.0
HAND_WRITTEN_RATIO = 1.5
EDITED_RATIO = 2
DAG_FACTORY_RATIO = 0.5
GROWTH_RATIO = (
    1.5  # 2.4 were quadratic: cost of one more file between 1,000 and 2,000 files, against that between 250 and 1,000
)
SIZES = (250, 500, 1000, 2000)
DAGS = 1000
PROJECT_FILES = ("pipelines", "pipeline_config", "schemas", "jobs")


class Report:
    """Prints one line per figure, and keeps whether each was below its ceiling."""

    good = True

    def line(self, what: str, seconds: float) -> None:
        """A time that stands for itself."""
        print(f"  {what:60} {seconds * 1000:9.1f} ms", flush=True)  # noqa: T201

    def title(self, text: str) -> None:
        """What the next lines are about."""
        print(text, flush=True)  # noqa: T201

    def ceiling(self, what: str, value: float, ceiling: float, unit: str) -> None:
        """A figure beside its ceiling."""
        self.good = self.good and value <= ceiling
        verdict = "good" if value <= ceiling else "TOO SLOW"
        print(f"  {what:60} {value:9.2f} {unit} (at most {ceiling:g}): {verdict}", flush=True)  # noqa: T201


def main() -> int:
    """Run all comparisons, or be the process that runs one."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.config", description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="runs of each side; a third of it for 1,000 DAGs")
    parser.add_argument("--build", nargs=2, metavar=("OURS", "OTHERS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        print(json.dumps(_build_times(Path(options.build[0]), Path(options.build[1]), options.runs)))  # noqa: T201
        return 0
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        _check_of_the_project(report, options.runs)
        _check_of_many(report, Path(folder), max(options.runs // 3, 1))
        _loader_of_the_project(report, Path(folder), options.runs)
        _loader_of_many(report, Path(folder), max(options.runs // 3, 1))
    return 0 if report.good else 1


def _medians(sides: dict[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """The median of each side's seconds; the sides take turns, after one round that does not count."""
    times = [{name: side() for name, side in sides.items()} for _ in range(runs + 1)][1:]
    return {name: median(row[name] for row in times) for name in sides}


def _process(*command: str | Path) -> Callable[[], float]:
    """Seconds of a whole process, which must end well."""

    def run() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    return run


def _check_of_the_project(report: Report, runs: int) -> None:
    report.title("The check of the nine pipelines, whole processes")
    files = [ROOT / document.file for document in load_project().pipeline_files]
    schema = ROOT / "pipeline_config/schemas/pipeline.schema.json"
    ours, other = "python -m pipeline_config check", "check-jsonschema, the schema alone"
    sides = {
        ours: _process("-m", "pipeline_config", "check"),
        other: _process("-m", "check_jsonschema", "--schemafile", schema, *files),
    }
    found = _medians(sides, runs)
    for name, seconds in found.items():
        report.line(name, seconds)
    report.ceiling("check", found[ours], CHECK_SECONDS, "s")
    report.ceiling("check : check-jsonschema", found[ours] / found[other], CHECK_RATIO, "×")


def _check_of_many(report: Report, folder: Path, runs: int) -> None:
    report.title("The check of generated pipelines, whole processes")
    sides = {}
    for size in SIZES:
        root = folder / f"check_{size}"
        shutil.copytree(ROOT / "pipelines", root / "pipelines")
        generate(root, size)
        sides[f"{size} files"] = _process("-m", "pipeline_config", "check", "--root", root)
    found = _medians(sides, runs)
    for name, seconds in found.items():
        report.line(name, seconds)
    few, _, many, most = found.values()
    report.ceiling(f"{DAGS} files", many, THOUSAND_SECONDS, "s")
    growth = (most - many) / (SIZES[3] - SIZES[2]) / ((many - few) / (SIZES[2] - SIZES[0]))
    report.ceiling("a file more, from 1,000 on : from 250 on", growth, GROWTH_RATIO, "×")


def generate(root: Path, count: int) -> None:
    """`count` valid pipelines below `root`: copies of the project's, in turn, with names of their own."""
    documents = load_project(root).pipeline_files
    shutil.rmtree(root / "pipelines" / "generated", ignore_errors=True)
    for number in range(count):
        document = documents[number % len(documents)]
        path = root / "pipelines" / "generated" / f"pipeline_{number:04}.yaml"
        path.parent.mkdir(exist_ok=True)
        text = re.sub(r"^dag_id: .*$", f"dag_id: {path.stem}", document.text, flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")


def _loader_of_the_project(report: Report, folder: Path, runs: int) -> None:
    report.title("The loader, nine DAGs, all imports done before")
    ours, others = _project(folder / "ours"), folder / "hand_written"
    others.mkdir()
    for dag_id, config in _compiled(load_project()).items():
        (others / f"{dag_id}.py").write_text(hand_written(dag_id, config), encoding="utf-8")
    _, edited, again, other = _build(report, ours, others, runs)
    report.line("hand-written DAG files", other)
    report.ceiling("loader again : hand-written", again / other, HAND_WRITTEN_RATIO, "×")
    report.ceiling("loader after an edit : hand-written", edited / other, EDITED_RATIO, "×")


def _loader_of_many(report: Report, folder: Path, runs: int) -> None:
    report.title(f"The loader, {DAGS} DAGs, all imports done before")
    ours, others = _project(folder / "many"), folder / "dag_factory"
    generate(ours, DAGS - len(load_project().pipelines))
    others.mkdir()
    for dag_id, config in _compiled(load_project(ours)).items():
        text = yaml.safe_dump({dag_id: dag_factory_config(config)}, allow_unicode=True, sort_keys=False)
        (others / f"{dag_id}.yaml").write_text(text, encoding="utf-8")
    first, _, _, other = _build(report, ours, others, runs)
    report.line("dag-factory, its own YAML", other)
    report.ceiling("loader for the first time : dag-factory", first / other, DAG_FACTORY_RATIO, "×")


def _project(root: Path) -> Path:
    """A copy of what Airflow reads."""
    for name in PROJECT_FILES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("jars", "wheels", "__pycache__"))
    for path in ROOT.glob("dag_factory_*.py"):
        shutil.copy(path, root)
    return root


def _compiled(project: Project) -> dict[str, Any]:
    """Every pipeline as the loader compiles it for production, by dag_id."""
    environment = project.environment("production")
    configs: dict[str, Any] = {}
    for pipeline in project.pipelines:
        configs |= compile_pipeline(project, pipeline, environment)
    return configs


def hand_written(dag_id: str, config: dict[str, Any]) -> str:
    """A DAG file that somebody could have written for the same DAG."""
    dag = {key: value for key, value in config.items() if key not in {"tasks", "params", "start_date"}}
    classes = {task["operator"] for task in config["tasks"].values()}
    lines = ["import datetime", "import shlex", "from airflow.sdk import DAG, Param"]
    lines += [f"from {path.rpartition('.')[0]} import {path.rpartition('.')[2]}" for path in sorted(classes)]
    lines += ["with DAG(", f"    dag_id={dag_id!r},", *_keywords(dag)]
    lines += [f"    start_date=datetime.datetime.fromisoformat('{config['start_date']}T00:00:00+00:00'),"]
    lines += ["    user_defined_filters={'shell_quote': shlex.quote},", "    params={"]
    for name, param in config["params"].items():
        lines += [f"        {name!r}: Param(", *(f"    {line}" for line in _keywords(param)), "        ),"]
    lines += ["    },", ") as dag:"]
    for task_id, task in config["tasks"].items():
        arguments = {key: value for key, value in task.items() if key not in {"operator", "dependencies"}}
        lines += [f"    {task_id} = {task['operator'].rpartition('.')[2]}(", f"        task_id={task_id!r},"]
        lines += [f"    {line}" for line in _keywords(arguments)] + ["    )"]
    for task_id, task in config["tasks"].items():
        lines += [f"    {upstream} >> {task_id}" for upstream in task["dependencies"]]
    return "\n".join([*lines, ""])


def _keywords(arguments: dict[str, Any]) -> Iterable[str]:
    return (f"    {name}={pprint.pformat(value, width=100, sort_dicts=False)}," for name, value in arguments.items())


def dag_factory_config(config: dict[str, Any]) -> dict[str, Any]:
    """The same DAG in dag-factory's own dialect."""
    params = {name: {"__type__": "airflow.sdk.Param", **param} for name, param in config["params"].items()}
    plain: dict[str, Any] = _plain({**config, "params": params})
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dt.timedelta):
        return {"__type__": "datetime.timedelta", "seconds": value.total_seconds()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _build(report: Report, ours: Path, others: Path, runs: int) -> tuple[float, float, float, float]:
    """Seconds in which the loader of the project `ours` builds its DAGs, for the first time, after an edit and again,
    and in which those of `others` are built.
    """
    from tests.airflow_environment import airflow_environment  # the script below runs where there is no tests package

    environment = {
        **os.environ,
        **airflow_environment(ours / ".airflow", others, "production"),
        "PYTHONPATH": str(ours),
    }
    script = [sys.executable, "-W", "ignore", __file__, "--runs", str(runs), "--build", str(ours), str(others)]
    result = subprocess.run(script, cwd=ours, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    first, edited, again, other = json.loads(result.stdout.splitlines()[-1])
    report.line("dag_factory_loader.py, for the first time", first)
    report.line("dag_factory_loader.py, after an edit that another file sees", edited)
    report.line("dag_factory_loader.py, again", again)
    return first, edited, again, other


def _build_times(ours: Path, others: Path, runs: int) -> list[float]:
    """In a process with Airflow: the median seconds of each side, each time in a fork that has built nothing yet.

    So does Airflow: it forks one process per file, with Airflow itself imported. Only what is on the disk is kept from
    one time to the next: Python's compiled files, and what the loader keeps beside them.
    """
    expected = {path.stem for path in others.iterdir() if path.suffix in {".py", ".yaml"}}

    def again() -> float:
        return _seconds(lambda: _run_files([ours / "dag_factory_loader.py"]), expected)

    def first() -> float:
        shutil.rmtree(ours / "__pycache__", ignore_errors=True)
        return again()

    path = ours / "pipelines" / "mart" / "tripclick_analytics_mart_etl.yaml"
    text, edits = path.read_text(encoding="utf-8"), itertools.count()

    def edited() -> float:
        default = "true" if next(edits) % 2 else "false"  # of a param, which the DAG that triggers this one may set
        path.write_text(re.sub(r"default: \w+", f"default: {default}", text), encoding="utf-8")
        return again()

    def other() -> float:
        return _seconds(lambda: _run_others(others), expected)

    for side in (first, edited, other):
        side()  # imports what it needs
    return list(_medians({"first": first, "edited": edited, "again": again, "other": other}, runs).values())


def _run_others(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("*.py"))
    if files:
        return _run_files(files)
    from dagfactory import load_yaml_dags

    found: dict[str, Any] = {}
    load_yaml_dags(globals_dict=found, dags_folder=str(folder))
    return found


def _run_files(files: list[Path]) -> dict[str, Any]:
    """Everything that is called anything in these files once they ran, as Airflow runs them."""
    found: dict[str, Any] = {}
    for path in files:
        spec = importlib.util.spec_from_file_location(f"dag_file_{path.stem}", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= {f"{path.stem}.{name}": value for name, value in vars(module).items()}
    return found


def _seconds(side: Callable[[], dict[str, Any]], expected: set[str]) -> float:
    """Seconds of one side in a child; what it had to import is imported here, for the next child."""
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as stream:
            text = stream.read()
        os.waitpid(child, 0)
        seconds, modules = json.loads(text)
        for name in modules:
            with suppress(ImportError):  # parts of a C extension have names, and cannot be imported by them
                importlib.import_module(name)
        return float(seconds)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        try:
            json.dump(_measured(side, expected), stream)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            stream.flush()
            os._exit(0)  # the parent's own clean-up is not the child's


def _measured(side: Callable[[], dict[str, Any]], expected: set[str]) -> tuple[float, list[str]]:
    known = set(sys.modules)
    gc.collect()
    start = time.perf_counter()
    found = side()
    seconds = time.perf_counter() - start
    dags = {value.dag_id for value in found.values() if hasattr(value, "task_dict")}
    if dags != expected:
        raise ValueError(f"not these DAGs: {sorted(dags ^ expected)[:5]}")
    return seconds, sorted(set(sys.modules) - known)


if __name__ == "__main__":
    sys.exit(main())
