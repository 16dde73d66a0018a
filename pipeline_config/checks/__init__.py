"""The checks that JSON Schema cannot make: inside a file and across files.

Each check yields problems, of one pipeline among the others (Context), or of the whole project. It runs
only on documents that read well and pass their schema, so it may trust the shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pipeline_config.checks import commands, dag, data, declared, operators, params, secrets, shared, tasks, triggers
from pipeline_config.checks.context import Context, Index
from pipeline_config.guard import guarded
from pipeline_config.model import Pipeline
from pipeline_config.problem import Problem
from pipeline_config.project import Project
from pipeline_config.reader import Document

__all__ = ["PIPELINE_CHECKS", "PROJECT_CHECKS", "check", "check_again"]

PROJECT_CHECKS: tuple[Callable[[Project], Iterator[Problem]], ...] = (
    shared.examples,
    shared.environments,
    shared.probes,
    operators.shared,
    operators.required,
    shared.timezone,
    shared.one_place,
    shared.templates_of_defaults,
    shared.command_templates,
)
PIPELINE_CHECKS: tuple[Callable[[Context], Iterator[Problem]], ...] = (
    dag.file_name,
    dag.schedule,
    dag.timezone,
    dag.without_cron,
    dag.dates,
    dag.notifiers,
    dag.deadline,
    tasks.names,
    tasks.connected,
    tasks.hides_failures,
    operators.operators,
    operators.limits,
    operators.mapping,
    commands.commands,
    declared.params,
    declared.template_reads,
    declared.rendered,
    declared.invisible_characters,
    declared.shell_variables,
    declared.unquoted_params,
    declared.declared,
    declared.advanced_connections,
    data.job_connections,
    params.bounds,
    params.crossed,
    params.run_time,
    triggers.triggers,
    triggers.cycles,
)
# Those that look at other pipelines, too.
AMONG_OTHERS: tuple[Callable[[Context], Iterator[Problem]], ...] = (
    dag.file_name,
    dag.schedule,
    commands.commands,
    triggers.triggers,
    triggers.cycles,
)
# Possibly consequences of another error: only if there is none.
CONSEQUENCES: tuple[Callable[[Context], Iterator[Problem]], ...] = (declared.unused, data.unneeded_connections)
ACROSS: tuple[Callable[[Sequence[Context]], Iterator[Problem]], ...] = (
    data.unwritten,
    data.writers,
    data.order,
    data.odd_variable,
)


def check(project: Project) -> list[Problem]:
    """All problems of a project, by file and line.

    The checks across files wait until catalog and defaults can be used; an environment that cannot be used is left out.
    """
    problems = [*project.problems, *_secrets(project.files)]
    if is_usable(project):
        for of_environments in (shared.extends, shared.active):
            problems += guarded(project.catalog_file, partial(of_environments, project))
        for one_check in PROJECT_CHECKS:
            problems += guarded(project.defaults_file, partial(one_check, project))
        contexts = _contexts(project, project.pipelines, problems)
        problems += _of_pipelines(project, contexts, problems)
        if not any(problem.severity == "error" for problem in problems):
            problems += guarded(project.catalog_file, partial(shared.unused, project))
            for across in ACROSS:
                problems += guarded(project.catalog_file, partial(across, contexts))
    return sorted(set(secrets.hidden(problems, project.files)))


def check_again(
    project: Project, changed: Sequence[Document], others: Sequence[Problem], seen: Mapping[str, frozenset[str]]
) -> list[Problem]:
    """The errors of a project in which only those pipelines have changed, or depend on what has.

    `others` are the problems that all other files had. `seen` has those files that have not changed and had no problem,
    each with the DAGs of which it may see a change. Warnings may be missing, or too many.
    """
    problems = [*others, *(problem for document in changed for problem in document.problems), *_secrets(changed)]
    if is_usable(project):
        files = {document.file for document in changed}
        pipelines = [pipeline for pipeline in project.pipelines if pipeline.file in files]
        contexts = [
            replace(context, seen=seen.get(context.pipeline.file))
            for context in _contexts(project, pipelines, problems)
        ]
        problems += _of_pipelines(project, contexts, problems)
    return sorted(set(secrets.hidden(problems, changed)))


def is_usable(project: Project) -> bool:
    """Whether catalog and defaults are usable, without which no pipeline has a meaning."""
    return not (project.catalog_file.problems or project.defaults_file.problems)


def _secrets(documents: Sequence[Document]) -> Iterator[Problem]:
    for document in documents:
        yield from guarded(document, partial(secrets.secrets, document))


def _contexts(project: Project, pipelines: Sequence[Pipeline], problems: Sequence[Problem]) -> list[Context]:
    """Each among all others; `problems` are those of the shared files."""
    index = Index.of(project)
    paths = [problem.path.split(".") for problem in problems if problem.file == project.defaults_file.file]
    broken = frozenset(path[1] for path in paths if path[0] == "commands" and len(path) > 1)
    return [Context(project, pipeline, index, broken) for pipeline in pipelines]


def _of_pipelines(project: Project, contexts: Sequence[Context], problems: Sequence[Problem]) -> list[Problem]:
    """The problems in each pipeline; `problems` are those found before."""
    whole = [context for context in contexts if context.seen is None]
    found = list(_of_each(whole, PIPELINE_CHECKS))
    found += _of_each([context for context in contexts if context.seen is not None], AMONG_OTHERS)
    wrong = {problem.file for problem in [*problems, *found] if problem.severity == "error"}
    if not wrong.intersection(document.file for document in project.shared):
        found += _of_each([context for context in whole if context.pipeline.file not in wrong], CONSEQUENCES)
    return found


def _of_each(
    contexts: Sequence[Context], checks: Sequence[Callable[[Context], Iterator[Problem]]]
) -> Iterator[Problem]:
    for context in contexts:
        for one_check in checks:
            yield from guarded(context.pipeline.place.document, partial(one_check, context))
