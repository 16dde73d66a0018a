"""Check, show, write and deploy pipelines. Exit code 0: success, 1: problems, 2: usage error."""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline_config import airflow_import, problem
from pipeline_config.checks import check
from pipeline_config.checks.secrets import masked
from pipeline_config.errors import CommandError
from pipeline_config.problem import plural
from pipeline_config.project import Project, active_environment, importable, load_project, root_of

BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell reports it
STDERR = 2  # sys.stderr may be closed


Add = Callable[..., argparse.ArgumentParser]  # a command: its name, its function, what it does, parents


def _called() -> str:
    """This program as it was called: `pipelines` if it is installed."""
    return "pipelines" if Path(sys.argv[0]).name == "pipelines" else "python -m pipeline_config"


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    common = argparse.ArgumentParser(add_help=False)
    where = "folder that holds pipelines/ (default: this one, or the nearest around it)"
    common.add_argument("--root", type=Path, default=root_of(Path.cwd()), help=where)
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--environment", default=active_environment(), help="a file of pipelines/environments (default: %(default)s)"
    )
    top = argparse.ArgumentParser(prog=_called(), description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], summary: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        result = commands.add_parser(name, help=summary, description=summary, parents=[common, *parents])
        result.set_defaults(run=run)
        return result

    _add_those_of_files(add)
    _add_those_that_show(add, place)
    _add_those_of_git(add)
    _add_those_that_write_pipelines(add)
    _add_those_of_airflow(add, place)
    return top


def _add_those_of_files(add: Add) -> None:
    one = add("check", _check, "check the YAML files")
    one.add_argument("files", nargs="*", type=Path, help="show only problems of these files (all are read)")
    one.add_argument("--format", choices=("text", "json", "github"), default="text")
    one = add("fmt", _fmt, "format the YAML files: order of keys, indentation, quotes; comments stay")
    one.add_argument("files", nargs="*", type=Path, help="only these (default: all)")
    one.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not formatted")


def _add_those_that_show(add: Add, place: argparse.ArgumentParser) -> None:
    one = add("render", _render, "print the commands of a DAG as they would run", place)
    one.add_argument("dag", help="a dag_id")
    one.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="a param of the run")
    one = add("graph", _graph, "draw the tasks of a DAG, or all DAGs with the data between them, as Mermaid")
    one.add_argument("dag", nargs="?", help="a dag_id (default: all DAGs)")
    one = add("explain", _explain, "explain a key of the YAML files, with an example")
    one.add_argument("key", nargs="?", help="a key, or the end of its path: retries, tasks.retries (default: all keys)")


def _add_those_of_git(add: Add) -> None:
    one = add("plan", _plan, "describe what the files change; exit 2 if they change something, 1 on errors")
    one.add_argument(
        "--against",
        default="HEAD",
        metavar="REV",
        help="git revision to compare with (default: HEAD), or `airflow`: the running one at $AIRFLOW_API_URL, "
        "with the token $AIRFLOW_API_TOKEN",
    )
    one.add_argument("--environment", help="only this one (default: all; with airflow: $PIPELINE_ENVIRONMENT)")
    one = add("deploy", _deploy, "check a commit in a clone, and move the branch that Airflow follows to it")
    one.add_argument(
        "revision", nargs="?", metavar="REV", help="git revision (default: HEAD, with nothing uncommitted)"
    )
    one.add_argument(
        "--to", default="origin/deployed", metavar="REMOTE/BRANCH", help="the branch (default: %(default)s)"
    )
    one.add_argument(
        "--run", dest="tests", action="append", default=[], metavar="COMMAND", help="must succeed in the clone, too"
    )
    one.add_argument("--status", action="store_true", help="say which commit is deployed, and move nothing")


def _add_those_that_write_pipelines(add: Add) -> None:
    one = add("new", _new, "write a new pipeline that passes the check, or with `new job NAME` a new Spark job")
    one.add_argument("dag", help="its dag_id, and the file's name; `job` for a job")
    one.add_argument("name", nargs="?", help="the job's name, after `job`")
    one.add_argument("--job", help="the job to run: fills in its options, variables, connections, pool and params")
    one.add_argument("--schedule", metavar="CRON", help="when it runs, in UTC (default: only when triggered)")
    one.add_argument("--folder", default="", help="folder below pipelines/")
    one = add("migrate", _migrate, "write a pipeline for each DAG of a dag-factory YAML file, and report what is left")
    one.add_argument("file", type=Path, help="a YAML file as dag-factory itself reads it")
    one.add_argument("--folder", default="", help="folder below pipelines/")


def _add_those_of_airflow(add: Add, place: argparse.ArgumentParser) -> None:
    one = add("preflight", _preflight, "check that everything the pipelines use is there and answers", place)
    one.add_argument("--from-airflow", action="store_true", help="take values and secrets from this machine's Airflow")
    one.add_argument("--format", choices=("text", "json"), default="text")
    one = add("import-airflow", _import_airflow, "write variables, connections and pools for Airflow's import", place)
    one.add_argument("--output", type=Path, required=True, help="folder to write to")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; results go to standard output, usage errors to standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # also on a terminal that only knows ASCII
    if not faulthandler.is_enabled():
        faulthandler.enable(STDERR)  # what crashes the process is named, with its line
    options = parser().parse_args(arguments)
    try:
        options.root = options.root.resolve()
        if options.run not in (_explain, _new):
            _require_pipelines(options.root)
        importable(options.root)
        result: int = options.run(options)
        if sys.stdout:  # closed by who called: None
            sys.stdout.flush()
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:  # the reader has gone, as `head` does: nothing is left to say, at exit neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return result


def _require_pipelines(root: Path) -> None:
    if not (root / "pipelines").exists():
        raise CommandError(f"{root} has no pipelines/, nor has a folder around it: go there, or name it with --root")


def _check(options: argparse.Namespace) -> int:
    from pipeline_config import editor_schema

    root = options.root
    project = load_project(root)
    wanted = {file for path in options.files for file in _files(project, path)}
    everything = check(project)
    wrong = {found.file for found in everything if found.severity == "error"}
    if not wrong.intersection(document.file for document in project.shared):
        editor_schema.write(project)
    problems = [found for found in everything if not options.files or found.file in wanted]
    broken = any(found.severity == "error" for found in problems)
    if options.format == "json":
        print(problem.as_json(problems))  # noqa: T201
    elif options.format == "github":
        print(problem.as_github(problems, root))  # noqa: T201
    else:
        colour = bool(sys.stdout) and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        shown = [problem.as_text(problems, root, masked, colour=colour)] if problems else []
        print("\n".join(shown if broken else [*shown, _summary(project, len(problems))]))  # noqa: T201
    return 1 if broken else 0


def _fmt(options: argparse.Namespace) -> int:
    from pipeline_config import fmt

    project = load_project(options.root, with_schema=False)
    wanted = {file for path in options.files for file in _files(project, path)}
    documents = project.files
    lines, failed = fmt.run(
        project.root, [one for one in documents if not wanted or one.file in wanted], write=not options.check
    )
    print("\n".join(lines) or f"{plural(len(wanted) or len(documents), 'file')}, all formatted")  # noqa: T201
    return 1 if failed or (lines and options.check) else 0


def _files(project: Project, path: Path) -> set[str]:
    """The documents that `path` names: one, or those in a folder; raises CommandError if it names none."""
    here = path.resolve()
    documents = [document.file for document in project.files]
    resolved = {file: (project.root / file).resolve() for file in documents}
    found = {file for file, place in resolved.items() if place == here or here in (project.root / file).parents}
    if not found:
        why = "the check reads pipelines/**/*.yaml" if path.exists() else "there is no such file"
        raise CommandError(f"{path}: {why}")
    return found


def _summary(project: Project, warnings: int) -> str:
    return f"{plural(len(project.pipelines), 'pipeline')}, no problem" + (f", warnings: {warnings}" if warnings else "")


def _right_project(options: argparse.Namespace, *, shared_alone: bool = False) -> Project:
    """The project, for commands that need all files to be valid, or the shared ones alone."""
    project = load_project(options.root)
    wrong = [found for found in check(project) if found.severity == "error"]
    if shared_alone:
        pipelines = {document.file for document in project.pipeline_files}
        wrong = [found for found in wrong if found.file not in pipelines]
    if wrong:
        many = plural(len(wrong), "problem")
        raise CommandError(f"the check finds {many}; fix them first, the first is\n{wrong[0]}")
    return project


def _render(options: argparse.Namespace) -> int:
    from pipeline_config.render import render

    given = {}
    for text in options.param:
        name, equals, given[name] = text.partition("=")
        if not equals:
            raise CommandError(f"--param {text}: write it as NAME=VALUE")
    project = _right_project(options)
    print(render(project, options.dag, project.environment(options.environment), given))  # noqa: T201
    return 0


def _plan(options: argparse.Namespace) -> int:
    from pipeline_config import plan

    return plan.run(options.root, options.against, options.environment)


def _deploy(options: argparse.Namespace) -> int:
    from pipeline_config import deploy

    branch = deploy.Branch.of(options.root, options.to)
    if options.status:
        return deploy.status(branch, options.revision or "HEAD")
    return deploy.deploy(branch, options.revision, options.tests)


def _graph(options: argparse.Namespace) -> int:
    from pipeline_config.graph import graph

    print(graph(_right_project(options), options.dag))  # noqa: T201
    return 0


def _explain(options: argparse.Namespace) -> int:
    from pipeline_config.explain import explain, reference

    print(explain(options.key) if options.key else reference())  # noqa: T201
    return 0


def _new(options: argparse.Namespace) -> int:
    from pipeline_config.new import new, new_job

    root = options.root
    if options.name is not None or options.dag == "job":
        if options.name is None or options.dag != "job" or options.job or options.schedule or options.folder:
            raise CommandError("write `new DAG` for a pipeline, or `new job NAME` for a job")
        path = new_job(load_project(root), options.name)
        print(f"{path}: change it, then `{_called()} new DAG --job {path.stem}`")  # noqa: T201
        return 0
    project = _right_project(options, shared_alone=True) if options.job else load_project(root)
    path = new(project, options.dag, options.folder, options.schedule, options.job)
    print(f"{path}: change it, then `{_called()} check`")  # noqa: T201
    return 0


def _migrate(options: argparse.Namespace) -> int:
    from pipeline_config import migrate

    lines, complete = migrate.run(_right_project(options, shared_alone=True), options.file, options.folder)
    print("\n".join(lines))  # noqa: T201
    return 0 if complete else 1


def _preflight(options: argparse.Namespace) -> int:
    from pipeline_config import preflight

    project = _right_project(options)
    environment = project.environment(options.environment)
    return preflight.run(project, environment, from_airflow=options.from_airflow, as_json=options.format == "json")


def _import_airflow(options: argparse.Namespace) -> int:
    project = _right_project(options)
    written = airflow_import.write(project, project.environment(options.environment), options.output)
    print(f"wrote {', '.join(str(path) for path in written)}")  # noqa: T201
    return 0
