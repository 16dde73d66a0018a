"""`python -m pipeline_config`: the command line. Exit code 0: all is well, 1: problems, 2: the command is wrong."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline_config import airflow_import, problem
from pipeline_config.checks import check
from pipeline_config.project import ROOT, UnknownEnvironmentError, load_project


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m pipeline_config", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    one = commands.add_parser("check", help="say what is wrong in the YAML files, or nothing but one line")
    one.add_argument("files", nargs="*", type=Path, help="show only problems of these files (all are read)")
    one.add_argument("--format", choices=("text", "json", "github"), default="text")
    one.add_argument("--root", type=Path, default=ROOT, help="folder that holds pipelines/")
    one = commands.add_parser("import-airflow", help="write variables.json and connections.json for Airflow's import")
    one.add_argument("--environment", required=True, help="a file of pipelines/environments")
    one.add_argument("--output", type=Path, required=True, help="folder to write to")
    one.add_argument("--root", type=Path, default=ROOT, help="folder that holds pipelines/")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; what it found goes to standard output."""
    options = parser().parse_args(arguments)
    return _check(options) if options.command == "check" else _import_airflow(options)


def _check(options: argparse.Namespace) -> int:
    root = options.root.resolve()
    project = load_project(root)
    problems = check(project)
    if options.files:
        wanted = {path.resolve() for path in options.files}
        problems = [found for found in problems if (root / found.file).resolve() in wanted]
    if options.format == "json":
        print(problem.as_json(problems))  # noqa: T201
    elif problems:
        print(problem.as_github(problems) if options.format == "github" else problem.as_text(problems, root))  # noqa: T201
    else:
        print(f"{len(project.pipelines)} pipelines, no problem")  # noqa: T201
    return 1 if problems else 0


def _import_airflow(options: argparse.Namespace) -> int:
    project = load_project(options.root.resolve())
    try:
        written = airflow_import.write(project, project.environment(options.environment), options.output)
    except UnknownEnvironmentError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    for path in written:
        print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
