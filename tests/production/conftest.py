"""Production on this machine, for the whole run; PRODUCTION_HOME keeps it, running, for the next one."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.producer.replay import weeks_to_today
from stack import demo
from stack.airflow_api import AirflowApi
from stack.debian_packages import install_packages
from stack.follow import say
from stack.home import Home
from tests.production.hosts import network
from tests.production.production import HOSTS, Production

KEPT = os.environ.get("PRODUCTION_HOME")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of their file: first without faults."""
    items.sort(key=lambda item: item.reportinfo()[1] or 0 if item.path.parent == Path(__file__).parent else 0)


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Production]:
    """All of it. pytest keeps its folder, with every log, for a look when a test fails."""
    names = os.environ.get("no_proxy", "")
    install_packages([] if shutil.which("ip") else ["iproute2"])
    root = Path(KEPT) if KEPT else tmp_path_factory.mktemp("production")
    with pytest.MonkeyPatch.context() as patch, network(HOSTS, keep=bool(KEPT)) as hosts:
        patch.setenv("no_proxy", ",".join([*filter(None, [names]), *(host.address for host in hosts.values())]))
        production = Production(Home(root, any_port=True), hosts)
        try:
            with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                say(f"\nProduction in {root}")
                production.up()
            yield production
        finally:
            if not KEPT:
                production.down()


@pytest.fixture(scope="session")
def api(production: Production) -> AirflowApi:
    """A login on its Airflow, once all DAGs are there."""
    api = production.airflow_api()
    demo.wait_for_dags(api)
    return api


@pytest.fixture(scope="session")
def days(production: Production) -> demo.Days:
    """Three days of the log, which are written, until the first of the runs that share this production."""
    began = production.home.folder() / "now"
    if not began.exists():
        began.write_text(dt.datetime.now(dt.UTC).isoformat(), encoding="ascii")
    now = dt.datetime.fromisoformat(began.read_text(encoding="ascii"))
    weeks = weeks_to_today(demo.LOG_WEEK, now.date())
    days = demo.Memory(shift_weeks=weeks, scale=0.5, story="", sent=str(dt.date.max)).days(now, 3)
    demo.generate(production, days)
    return days
