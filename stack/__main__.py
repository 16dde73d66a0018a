"""The command line: `python -m stack COMMAND`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stack.errors import StackError


def main() -> int:
    """Run one command; 0 on success."""
    commands = {
        "up": _up,
        "down": _down,
        "status": _status,
        "install": _install,
        "install-for-tests": _install_for_tests,
        "install-airflow": _install_airflow,
        "install-spark-server": _install_spark_server,
        "install-lineage": _install_lineage,
        "import-settings": _import_settings,
        "demo": _demo,
        "live": _live,
        "dashboards": _dashboards,
        "preflight": _preflight,
    }
    parser = argparse.ArgumentParser(prog="python -m stack", description="The embedded servers and Airflow.")
    parser.add_argument("command", choices=commands)
    try:
        return commands[parser.parse_args().command]()
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("interrupted; `make up` continues from here, `make down` stops what is running", file=sys.stderr)  # noqa: T201
        return 130


# Each command imports what it needs: `install` runs when there is only Python's standard library.
def _up() -> int:
    from stack.stack import Stack

    stack = Stack()
    stack.up()
    url, user, password = stack.airflow_login()
    print(f"\nAirflow: {url}   user {user}   password {password}")  # noqa: T201
    return 0


def _down() -> int:
    from stack.stack import Stack

    Stack().down()
    return 0


def _status() -> int:
    from stack.stack import Stack
    from stack.status import show

    return 0 if show(Stack()) else 1


def _install() -> int:
    from stack.installer import install

    install()
    return 0


def _install_for_tests() -> int:
    from stack.installer import install_for_tests

    install_for_tests()
    return 0


def _install_airflow() -> int:
    from stack.installer import install_airflow

    install_airflow()
    return 0


def _install_spark_server() -> int:
    from stack.installer import install_spark_server

    install_spark_server()
    return 0


def _install_lineage() -> int:
    from stack.installer import install_lineage

    install_lineage()
    return 0


def _import_settings() -> int:
    """Of an Airflow set up by deploy/site.yml; the connections' secrets come by standard input, as JSON."""
    from stack.airflow_import import import_settings

    def run(what: str, command: Sequence[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"`{what} …` failed:\n{(done.stdout + done.stderr)[-1500:]}")

    environment, home = os.environ["PIPELINE_ENVIRONMENT"], Path(os.environ["AIRFLOW_HOME"])
    if import_settings(environment, json.load(sys.stdin), home, run):
        print("Airflow's variables, pools and connections: imported")  # noqa: T201
    return 0


def _demo() -> int:
    from stack.demo import demo

    demo()
    return 0


def _live() -> int:
    from stack.live import live

    live()
    return 0


def _dashboards() -> int:
    from stack.installer import install_superset
    from stack.stack import Stack

    install_superset()
    Stack().dashboards()
    return 0


def _preflight() -> int:
    from stack.stack import Stack

    stack = Stack()
    command = [sys.executable, "-m", "pipeline_config", "preflight", "--from-airflow"]
    words = ["--environment", stack.pipeline_environment]
    return subprocess.run([*command, *words], env=stack.airflow.environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
