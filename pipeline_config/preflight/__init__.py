"""`preflight`: whether everything the pipelines use really exists and answers. Changes nothing, prints no secret."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from pipeline_config.model import Environment
from pipeline_config.preflight import settings
from pipeline_config.preflight.probe import run_all
from pipeline_config.preflight.uses import probes
from pipeline_config.problem import plural
from pipeline_config.project import Project


def run(project: Project, environment: Environment, *, from_airflow: bool = False, as_json: bool = False) -> int:
    """Run all probes and print one line each; exit code 0: everything is there, 1: something is not.

    `from_airflow` takes values and secrets from this machine's Airflow, not from the environment's file. CommandError
    when they cannot be read.
    """
    known = settings.from_airflow(project) if from_airflow else settings.from_environment(project, environment)
    outcomes = []
    for outcome in run_all(probes(project, environment, known)):
        outcomes.append(replace(outcome, found=known.masked(outcome.found)))
        if not as_json:
            print(outcomes[-1], flush=True)  # noqa: T201
    failed = sum(not outcome.ok for outcome in outcomes)
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2, ensure_ascii=False))  # noqa: T201
    else:
        print(f"{plural(len(outcomes), 'probe')}, {f'{failed} failed' if failed else 'all is there'}")  # noqa: T201
    return 1 if failed else 0
