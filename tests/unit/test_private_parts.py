"""Libraries of which more is used than they promise: after an upgrade somebody compares, and writes the version here.

PySpark's, Py4J's and Delta's are in jobs/spark/test_jvm.py and test_delta_log.py, and their parts in one module each.
argparse's are in pipeline_config/argparse_parts.py. Ruff (SLF001) lets no other module use a name that begins with `_`.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from importlib.metadata import version

import pytest
from docker import APIClient

from pipeline_config import argparse_parts
from pipeline_config.project import ROOT
from stack.settings import SUPERSET_LOCK

USED = {
    "docker": (
        "7.2.0",
        "pipeline_config/operators/docker_client.py: APIClient._post, _url and _result, by which a container's end is "
        "awaited from before its start, for as long as it takes (_get_raw_response_socket, _disable_socket_timeout), "
        "and CancellableStream, which ends the wait; create_host_config and create_container pass on what they do not "
        "know",
    ),
    "apache-airflow-providers-docker": (
        "4.6.1",
        "pipeline_config/operators/docker.py: DockerOperator.cli, container, docker_url, labels and mounts, and which "
        "methods of the client it calls",
    ),
    "apache-airflow-providers-ssh": (
        "7.0.1",
        "pipeline_config/operators/ssh.py: SSHOperator.get_ssh_client and raise_for_status; the hook's "
        "no_host_key_check and allow_host_key_change",
    ),
    "apache-airflow-task-sdk": (
        "1.3.2",
        "tests/programs/starts_a_task.py: the parsing context of a task; names_of_templates.py: the classes behind "
        "what templates may read",
    ),
    "dag-factory": (
        "1.1.0",
        "pipeline_config/loader.py: DagBuilder, which load_yaml_dags calls with a copy of its own dialect",
    ),
    "apache-superset": (
        "6.1.0",
        "stack/superset_setup.py: ImportAssetsCommand, override_user, SqlaTable.fetch_metadata, the security manager's "
        "roles; stack/superset_viewers.py: SupersetSecurityManager.raise_for_access and the attributes of a query "
        "(stack/chart_queries.py)",
    ),
}


def installed(library: str) -> str:
    """Its version, as it is here or, for Superset's own environment, as that is locked."""
    locked = re.search(rf"^{library}==(\S+)", SUPERSET_LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return locked[1] if locked and library == "apache-superset" else version(library)


def test_what_is_used_of_argparse_is_what_each_supported_python_was_seen_to_have() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.13", (
        "compare Python's argparse.py, and then write the versions here: pipeline_config/argparse_parts.py: a parser's "
        "_actions, _SubParsersAction and its choices, _get_formatter and HelpFormatter._expand_help, which fills in "
        "%(default)s and fails for a lone percent sign"
    )
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=7, help="how many, %(default)s by default")
    parser.add_argument("--share", help="100 % of them")
    mode = parser.add_subparsers().add_parser("batch")
    assert [action.dest for action in argparse_parts.actions(parser)][:3] == ["help", "days", "share"]
    assert argparse_parts.action_of(parser, "days").type is int
    assert argparse_parts.modes(parser) == {"batch": mode}
    assert argparse_parts.help_of(parser, "days") == "how many, 7 by default"
    assert argparse_parts.help_of(parser, "share") == "100 % of them"


@pytest.mark.parametrize("library", USED)
def test_its_version_is_the_one_that_was_looked_at(library: str) -> None:
    looked_at, compare = USED[library]
    assert installed(library) == looked_at, f"compare, and then write the version here: {compare}"


def test_what_is_used_of_docker_is_there_and_used_in_one_module() -> None:
    names = ("_post", "_url", "_result", "_get_raw_response_socket", "_disable_socket_timeout")
    assert all(callable(getattr(APIClient, name)) for name in (*names, "attach_socket"))
    used = re.compile(rf"self\.({'|'.join(names)})\b")
    users = [path for path in (ROOT / "pipeline_config").rglob("*.py") if used.search(path.read_text(encoding="utf-8"))]
    assert users == [ROOT / "pipeline_config/operators/docker_client.py"]
