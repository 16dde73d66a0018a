"""The checks that JSON Schema cannot make: inside a file and across files.

Each check is a function to problems: from one pipeline among the others (Context), or from the whole project. It runs
only on documents that read well and pass their schema, so it may trust the shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pipeline_config.checks import commands, dag, data, declared, operators, secrets, shared, tasks, triggers
from pipeline_config.checks.context import Context, Index
from pipeline_config.guard import guarded
from pipeline_config.problem import Problem
from pipeline_config.project import Project

__all__ = ["PIPELINE_CHECKS", "PROJECT_CHECKS", "check"]

PROJECT_CHECKS: tuple[Callable[[Project], Iterator[Problem]], ...] = (
    shared.active,
    shared.environments,
    operators.shared,
    shared.templates_of_defaults,
    shared.unused,
)
PIPELINE_CHECKS: tuple[Callable[[Context], Iterator[Problem]], ...] = (
    dag.file_name,
    dag.schedule,
    dag.dates,
    dag.notifiers,
    tasks.names,
    tasks.connected,
    operators.operators,
    operators.limits,
    operators.mapping,
    commands.commands,
    declared.params,
    declared.template_reads,
    declared.declared,
    declared.advanced_connections,
    data.job_connections,
    triggers.triggers,
    triggers.cycles,
)


def check(project: Project) -> list[Problem]:
    """All problems of a project, by file and line.

    The checks across files wait until catalog and defaults can be used; an environment that cannot be used is left out.
    """
    problems = [*project.problems]
    for document in [*project.shared, *project.pipelines]:
        problems += guarded(document, partial(secrets.secrets, document))
    if project.catalog.problems or project.defaults.problems:
        return sorted(set(problems))
    problems += guarded(project.catalog, partial(shared.extends, project))
    project = project.with_whole_environments()
    index = Index.of(project)
    contexts = [Context(project, document, index) for document in project.pipelines if not document.problems]
    for one_check in PROJECT_CHECKS:
        problems += guarded(project.defaults, partial(one_check, project))
    for context in contexts:
        for its_check in PIPELINE_CHECKS:
            problems += guarded(context.document, partial(its_check, context))
    if not any(problem.severity == "error" for problem in problems):
        problems += guarded(project.catalog, partial(data.unwritten, contexts))
    return sorted(set(problems))
