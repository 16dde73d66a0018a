"""One stack for the tests of a running Airflow, on free ports, with a copy of the project that tests may change."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from jobs.producer.replay import weeks_to_today
from stack import demo
from stack.airflow_api import AirflowApi
from stack.follow import say
from stack.home import Home
from stack.installer import install_browser
from stack.settings import REPOSITORY
from stack.stack import Stack

NOW = dt.datetime.now(dt.UTC)
WEEKS = weeks_to_today(demo.LOG_WEEK, NOW.date())
DAYS = demo.Memory(shift_weeks=WEEKS, scale=0.5, story="", sent=str(dt.date.max)).days(NOW, 3)


def shown(config: pytest.Config) -> AbstractContextManager[None]:
    """What is printed within is seen at once: the chain takes minutes."""
    manager = config.pluginmanager.getplugin("capturemanager")
    found: AbstractContextManager[None] = manager.global_and_fixture_disabled()
    return found


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that share the stack come last, whatever their order: so it stands beside no other server.

    After the chain come those that read its marts, then those that send other clicks than its own, and last what
    takes the Docker engine away.
    """
    here = Path(__file__).parent
    last = ["analysts_queries", "ninth_dag", "test_killed_tasks.py", "test_dashboards.py", "test_without_docker.py"]

    def order(item: pytest.Item) -> tuple[bool, int]:
        shares = item.path.parent == here and "project" in getattr(item, "fixturenames", ())
        return shares, next((place for place, name in enumerate(last, 1) if name in item.nodeid), 0)

    items.sort(key=order)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what Airflow reads: the loader, the configuration layer, the pipelines and the jobs."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pipelines", "pipeline_config", "schemas", "jobs"):
        ignored = shutil.ignore_patterns("jars", "wheels", "__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for path in (*REPOSITORY.glob("dag_factory_*.py"), REPOSITORY / ".airflowignore"):
        shutil.copy(path, folder)
    local = folder / "pipelines/environments/local.yaml"
    own = re.compile(r"(?m)^default_args:\n(?: .*\n)+")  # no retries, since at a demo somebody is looking
    without, found = own.subn("", local.read_text(encoding="utf-8"))
    assert found == 1
    local.write_text(without, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def stack(project: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Stack]:
    """A stack of its own. pytest keeps its folder, with every log, for a look when a test fails."""
    stack = Stack(Home(tmp_path_factory.mktemp("stack"), any_port=True))
    stack.airflow.project = project
    try:
        with shown(pytestconfig):
            say(f"\nA stack in {stack.home.root}")
            stack.up()
            demo.generate(stack, DAYS)
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def api(stack: Stack) -> AirflowApi:
    """A login on its Airflow, once all DAGs are there."""
    api = stack.airflow_api()
    demo.wait_for_dags(api)
    return api


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser; what its pages know of logins, they know by themselves."""
    with sync_playwright() as playwright:
        playwright.selectors.set_test_id_attribute("data-test")
        browser = playwright.chromium.launch(executable_path=install_browser(), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def first_failure(api: AirflowApi, dag_id: str, run_id: str) -> tuple[str, str]:
    """The state in which the run's first failed try left its task, and the lines that say why; no retry is awaited."""
    with_failure = {"failed", "up_for_retry"}
    api.wait(lambda: any(task.state in with_failure for task in api.tasks(dag_id, run_id)), "a try has failed", 120)
    (task,) = (task for task in api.tasks(dag_id, run_id) if task.state in with_failure)
    api.call("PATCH", f"dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}", {"state": "failed"})
    assert task.try_number == 1
    return task.state or "", "\n".join(line for line in api.log(dag_id, run_id, task) if "error:" in line)


def screenshot(page: Page, name: str) -> None:
    """Keep a picture for the README when one asks for new ones: UPDATE_SCREENSHOTS=1."""
    if os.environ.get("UPDATE_SCREENSHOTS"):
        page.screenshot(path=REPOSITORY / "docs" / name, animations="disabled")
