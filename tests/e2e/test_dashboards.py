"""The dashboards in a real Superset: every chart has data, the live one moves, and a viewer sees nothing else."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import yaml

from stack import demo
from stack.airflow_api import AirflowApi
from stack.follow import DAILY, follow
from stack.installer import install_superset
from stack.settings import DASHBOARDS
from stack.stack import Stack
from stack.superset import ADMIN, VIEWER
from tests.e2e.conftest import DAYS, screenshot, shown

if TYPE_CHECKING:
    from playwright.sync_api import APIResponse, Browser, BrowserContext, Page, Request, Response, Route, StorageState

pytestmark = pytest.mark.e2e

SLUGS = ("now", "report", "quality")
TITLES_OF = {
    slug: {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["slice_name"]
        for path in DASHBOARDS.glob(f"charts/{slug}_*.yaml")
    }
    for slug in SLUGS
}
# What three days without a story may be too few for.
MAY_BE_EMPTY = {
    *("now_anomalies", "report_trending"),
    *("quality_agreement", "quality_verdicts", "quality_documents", "quality_changes"),
}
LIMIT_MS = 120_000
PHONE = 390


@pytest.fixture(scope="module")
def superset(stack: Stack, api: AirflowApi, pytestconfig: pytest.Config) -> Stack:
    """The stack with Superset, on marts that hold clicks."""
    with shown(pytestconfig):
        if not stack.postgres.is_readable("freshness") or not _clicks(stack):
            follow(api, [(DAILY, demo.start_cold(api, DAYS))], "Cold chain")
            follow(api, demo.start_hot(api, DAYS), "Hot chain")
        install_superset()
        stack.dashboards()
    return stack


def _clicks(stack: Stack) -> int:
    """All clicks of the hot tables."""
    with psycopg.connect(**stack.postgres_login()) as connection:
        row = connection.execute("SELECT coalesce(sum(total_clicks), 0) FROM mart_realtime_traffic_minute").fetchone()
    return int(row[0]) if row else 0


@dataclass
class Dashboard:
    """A page of Superset, and what its charts were answered: rows, or an error, by the chart's file."""

    page: Page
    url: str
    names: dict[int, str] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    queries: dict[str, Any] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    outside: list[Request] = field(default_factory=list)

    def asked(self, request: Request) -> None:
        if urlsplit(request.url).scheme.startswith("http") and not request.url.startswith(self.url):
            self.outside.append(request)

    def heard(self, response: Response) -> None:
        form = parse_qs(urlsplit(response.url).query).get("form_data", ["{}"])[0]
        slice_id = json.loads(form).get("slice_id")
        if "/api/v1/chart/data" in response.url:
            asked: Any = response.request.post_data_json
            self.queries[self.names.get(slice_id) or asked["form_data"].get("native_filter_id")] = asked
        if "/api/v1/chart/data" in response.url and slice_id in self.names:
            answer = response.json()["result"][0]["data"] if response.ok else response.text()
            self.answers[self.names[slice_id]] = answer
        elif response.status >= 500:
            self.refused.append(f"{response.status} {response.url}")

    def open(self, slug: str) -> None:
        """Show a dashboard and wait until every chart was answered and drawn."""
        self.answers.clear()
        files = {title: name for name, title in TITLES_OF[slug].items()}
        charts = self.page.request.get(f"{self.url}/api/v1/dashboard/{slug}/charts").json()["result"]
        self.names = {chart["id"]: files[chart["slice_name"]] for chart in charts}
        path = f"/superset/dashboard/{slug}/"
        self.page.goto(self.url + path)
        # Superset sends who may not see a page to the sign-in, and from there to the welcome page, without a word.
        assert urlsplit(self.page.url).path == path, f"sent away from {path} to {self.page.url}"
        self.wait_for(lambda: self.answers.keys() == TITLES_OF[slug].keys(), f"all charts of {slug}")
        self.page.wait_for_function(
            "() => !document.querySelector('.loading, [data-test=loading-indicator]')", timeout=LIMIT_MS
        )

    def picture(self, name: str) -> None:
        """A picture for the README, as tall as the dashboard is."""
        boxes = [row.bounding_box() for row in self.page.locator(".grid-row").all()]
        height = max(box["y"] + box["height"] for box in boxes if box)
        self.page.set_viewport_size({"width": 1280, "height": round(height) + 16})
        screenshot(self.page, name)

    def ask(self, query: dict[str, Any]) -> APIResponse:
        """Send a query as the page itself sends one."""
        # Without the page's own token Superset refuses whoever asks, and says nothing of rights.
        token = self.page.locator("#csrf_token").first.get_attribute("value")
        assert token
        headers = {"X-CSRFToken": token, "Referer": self.url}
        return self.page.request.post(f"{self.url}/api/v1/chart/data", data=query, headers=headers)

    def apply(self, *charts: str) -> None:
        """Press Apply and wait for new answers of these charts."""
        self.answers.clear()
        self.page.get_by_test_id("filter-bar__apply-button").click()
        self.wait_for(lambda: set(charts) <= self.answers.keys(), f"{charts} after a filter")

    def choose_days(self, first: dt.date, end: dt.date) -> None:
        """Set the filter of days as a person does: the first day, and the one after the last."""
        self.page.get_by_test_id("filter-bar").get_by_text("col <").click()
        popover = self.page.locator(".time-range-popover")
        for label, option in (("Range type", "Custom"), ("Start (inclusive)", "Specific Date/Time")):
            popover.locator(f".ant-select[aria-label='{label}']").click()
            popover.locator(f".ant-select-dropdown:visible .ant-select-item-option[title='{option}']").click()
        for day, field_ in zip((first, end), popover.get_by_placeholder("Select date").all(), strict=True):
            field_.click()
            field_.fill(f"{day} 00:00:00")
            field_.press("Enter")
        popover.get_by_text(f"{first} ≤ col < {end}").wait_for()  # it has asked the server what that means
        popover.get_by_role("button", name="APPLY").click()
        popover.wait_for(state="hidden")

    def wait_for(self, is_so: Callable[[], bool], what: str) -> None:
        """Let the page work until it is so."""
        for _ in range(LIMIT_MS // 250):
            if is_so():
                return
            self.page.wait_for_timeout(250)
        raise AssertionError(f"not seen: {what}; answered: {sorted(self.answers)}, refused: {self.refused}")


@pytest.fixture(params=[ADMIN, VIEWER])
def user(request: pytest.FixtureRequest) -> str:
    """Who looks."""
    return str(request.param)


@pytest.fixture(scope="module")
def signed_in(superset: Stack, browser: Browser) -> Iterator[dict[str, BrowserContext]]:
    """Each user's part of the browser, signed in: what one page has loaded, the next one need not load again."""
    found: dict[str, BrowserContext] = {}
    for user in (ADMIN, VIEWER):
        context = new_context(browser)
        with context.new_page() as page:
            sign_in(page, *superset.superset.login(user))
        found[user] = context
    yield found
    for context in found.values():
        context.close()


def new_context(browser: Browser, state: StorageState | None = None) -> BrowserContext:
    """A part of the browser whose pages are tall enough that every chart is drawn at once."""
    context = browser.new_context(viewport={"width": 1280, "height": 2800}, storage_state=state)
    context.set_default_timeout(LIMIT_MS)
    return context


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    """Sign in and wait for the page that Superset lands on."""
    # This page sends a log, and the answer's cookie is nobody's: after the sign-in's own, it ends the session.
    page.route("**/superset/log/**", lambda route: route.fulfill(json={}))
    page.goto(f"{url}/login/")
    page.fill("input#username, input[name=username]", name)
    page.fill("input[type=password]", password)
    with page.expect_response(
        lambda response: response.request.method == "POST" and urlsplit(response.url).path == "/login/"
    ) as answered:
        page.keyboard.press("Enter")
    assert answered.value.headers.get("location") == "/", f"{name} was not let in"
    page.wait_for_url(f"{url}/superset/welcome/")


@contextmanager
def new_dashboard(stack: Stack, context: BrowserContext) -> Iterator[Dashboard]:
    """A page of a user who is signed in."""
    with context.new_page() as page:
        shown_page = Dashboard(page, stack.superset.address)
        page.on("request", shown_page.asked)
        page.on("response", shown_page.heard)
        yield shown_page


@pytest.fixture
def dashboard(superset: Stack, user: str, signed_in: dict[str, BrowserContext]) -> Iterator[Dashboard]:
    """A page of this user."""
    with new_dashboard(superset, signed_in[user]) as page:
        yield page


@pytest.fixture
def own_clock(superset: Stack, browser: Browser, signed_in: dict[str, BrowserContext]) -> Iterator[Dashboard]:
    """A page of the viewer whose clock a test may move: all pages of a context have one."""
    with new_context(browser, signed_in[VIEWER].storage_state()) as context:
        context.clock.install()
        with new_dashboard(superset, context) as page:
            yield page


@pytest.mark.parametrize(("user", "slug"), [(ADMIN, "now"), *((VIEWER, slug) for slug in SLUGS)], indirect=["user"])
def test_every_chart_is_drawn_with_data(dashboard: Dashboard, slug: str, user: str) -> None:
    dashboard.open(slug)
    assert [rows for rows in dashboard.answers.values() if isinstance(rows, str)] == []
    assert {chart for chart, rows in dashboard.answers.items() if not rows} <= MAY_BE_EMPTY
    assert not dashboard.refused
    # Its own Content-Security-Policy holds Superset's pages back from the hosts that they name.
    assert [request.url for request in dashboard.outside if "csp" not in str(request.failure).lower()] == []
    texts = dashboard.page.locator(".ant-alert-error, [data-test=error-message]").all_inner_texts()
    assert texts == []
    drawn = dashboard.page.locator(
        "[data-test=chart-container]:has(canvas, table, .header-line, .ant-empty-description)"
    )
    assert drawn.count() == len(TITLES_OF[slug])
    if user == VIEWER:
        dashboard.picture(f"dashboard-{slug}.png")


def _by_day(rows: list[dict[str, Any]], column: str) -> dict[dt.date, float]:
    """A chart's numbers by day; days without one are left out."""
    days = {dt.datetime.fromtimestamp(row["event_date"] / 1000, dt.UTC).date(): row[column] for row in rows}
    return {day: number for day, number in days.items() if number is not None}


def _stored(stack: Stack, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What PostgreSQL says itself."""
    with psycopg.connect(**stack.postgres_login()) as connection:
        return connection.execute(query.encode(), values).fetchall()


@pytest.mark.parametrize("user", [VIEWER], indirect=True)
def test_the_report_of_one_clinical_area(dashboard: Dashboard, superset: Stack) -> None:
    query = (
        "SELECT sum(weighted_clicks) FROM clinical_areas WHERE clinical_area = %s "
        "AND event_date < current_date AND event_date >= current_date - 28"
    )
    areas = [area for (area,) in _stored(superset, "SELECT DISTINCT clinical_area FROM clinical_areas ORDER BY 1")]
    dashboard.open("report")
    assert len(dashboard.answers["report_areas"]) > 2, "several areas at first"
    dashboard.page.get_by_test_id("filter-bar").locator(".ant-select").click()
    dashboard.page.keyboard.type(areas[-1])
    dashboard.page.locator(f".ant-select-item-option[title={json.dumps(areas[-1])}]").click()
    dashboard.page.keyboard.press("Escape")
    dashboard.apply("report_areas")
    (row,) = dashboard.answers["report_areas"]
    assert row["clinical_area"] == areas[-1]
    assert row["clicks"] == pytest.approx(_stored(superset, query, areas[-1])[0][0])
    assert dashboard.answers.keys() == {"report_areas"}, "no other chart is counted by area"


@pytest.mark.parametrize("user", [VIEWER], indirect=True)
def test_the_report_of_one_day(dashboard: Dashboard, superset: Stack) -> None:
    newest = "SELECT max(event_date) FROM daily_traffic WHERE event_date < current_date"
    day = dt.date.fromisoformat(str(_stored(superset, newest)[0][0]))
    dashboard.open("report")
    assert len(_by_day(dashboard.answers["report_traffic"], "clicks")) > 1, "several days at first"
    dashboard.choose_days(day, day + dt.timedelta(days=1))
    dashboard.apply(*TITLES_OF["report"].keys() - {"report_trending", "report_trust"})
    clicks = _stored(superset, "SELECT total_events FROM daily_traffic WHERE event_date = %s", day)[0][0]
    assert _by_day(dashboard.answers["report_traffic"], "clicks") == {day: clicks}
    for name, rows in dashboard.answers.items():
        if rows and "event_date" in rows[0]:
            assert set(_by_day(rows, "event_date")) <= {day}, name
    views = "SELECT title, sum(view_count)::int FROM popular_documents WHERE event_date = %s GROUP BY 1"
    shown_rows = dashboard.answers["report_documents"]
    assert {row["title"]: row["clicks"] for row in shown_rows}.items() <= dict(_stored(superset, views, day)).items()


@pytest.mark.parametrize("user", [VIEWER], indirect=True)
@pytest.mark.parametrize(
    ("table", "column", "query"),
    [
        ("report_queries", "query", "SELECT event_date, searches FROM popular_queries WHERE query = %s"),
        (
            "report_documents",
            "title",
            "SELECT event_date, sum(view_count)::int FROM popular_documents WHERE title = %s GROUP BY 1",
        ),
    ],
)
def test_a_click_on_a_row_shows_its_days(
    dashboard: Dashboard, superset: Stack, table: str, column: str, query: str
) -> None:
    dashboard.open("report")
    item = dashboard.answers[table][1][column]
    series = dashboard.answers["report_chosen"][0].keys()
    assert len(series) > 2, "several queries at first"
    cell = dashboard.page.locator("td", has=dashboard.page.get_by_text(item, exact=True)).first

    def click() -> list[dict[str, Any]]:
        dashboard.answers.clear()
        cell.click()
        dashboard.wait_for(lambda: bool(dashboard.answers), "an answer to the click")
        assert dashboard.answers.keys() == {"report_chosen"}, "no other chart follows it"
        return list(dashboard.answers["report_chosen"])

    rows = click()
    assert rows[0].keys() == {"event_date", item}
    today = dt.datetime.now(dt.UTC).date()
    days = {today - dt.timedelta(days=ago) for ago in range(1, 29)}
    stored = {day: clicks for day, clicks in _stored(superset, query, item) if day in days}
    assert _by_day(rows, item) == stored
    assert len(click()[0]) == len(series), "the second click lets go of it"


@pytest.mark.parametrize("user", [VIEWER], indirect=True)
def test_a_filter_that_leaves_nothing_says_so(dashboard: Dashboard) -> None:
    by_day = TITLES_OF["report"].keys() - {"report_trending", "report_trust"}
    dashboard.open("report")
    dashboard.choose_days(dt.date(1999, 1, 1), dt.date(1999, 1, 2))
    dashboard.apply(*by_day)
    assert not any(dashboard.answers[name] for name in by_day)
    for name in by_day:
        title = json.dumps(TITLES_OF["report"][name])
        hint = dashboard.page.locator(f"[data-test-chart-name={title}] .ant-empty-description")
        hint.wait_for()
        assert "choose other days" in hint.evaluate("element => getComputedStyle(element, '::after').content")


@pytest.fixture
def one_more_click(superset: Stack) -> Iterator[Callable[[], None]]:
    """Counts one more click in the newest minute, as the hot stream does; takes it back."""
    query = (
        "UPDATE mart_realtime_traffic_minute SET total_clicks = total_clicks + %s "
        "WHERE event_minute = (SELECT max(event_minute) FROM mart_realtime_traffic_minute)"
    )

    def count(clicks: int) -> None:
        with psycopg.connect(**superset.postgres_login()) as connection:
            connection.execute(query.encode(), [clicks])

    yield partial(count, 1)
    count(-1)


def test_the_live_chart_moves(own_clock: Dashboard, one_more_click: Callable[[], None]) -> None:
    own_clock.open("now")
    chart = "now_hour"
    before = own_clock.answers[chart]
    one_more_click()
    own_clock.page.clock.fast_forward(60_000)  # the page asks again by itself, once a minute
    own_clock.wait_for(lambda: own_clock.answers[chart] != before, "the chart after a refresh")
    assert not isinstance(own_clock.answers[chart], str)


@pytest.mark.parametrize("user", [VIEWER], indirect=True)
def test_a_viewer_sees_dashboards_and_nothing_else(dashboard: Dashboard) -> None:
    def get(path: str) -> Any:
        return dashboard.page.request.get(dashboard.url + path, max_redirects=0)

    assert {one["slug"] for one in get("/api/v1/dashboard/").json()["result"]} == set(SLUGS)
    assert get("/api/v1/chart/").json()["count"] == 0
    for path in ("dataset/", "database/", "log/", "query/", "saved_query/", "security/users/", "report/"):
        assert get(f"/api/v1/{path}").status in {401, 403, 404}, path
    for path in ("/sqllab/", "/users/list/", "/roles/list/", "/tablemodelview/list/", "/chart/add"):
        assert get(path).status in {302, 403, 404}, path
    # With the page's own token: without one Superset refuses whoever asks, and says nothing of rights.
    dashboard.page.goto(f"{dashboard.url}/superset/dashboard/now/")
    token = dashboard.page.locator("#csrf_token").first.get_attribute("value")
    assert token
    count = {"expressionType": "SQL", "sqlExpression": "count(*)", "label": "n"}
    asked: dict[tuple[str, str], Any] = {
        ("POST", "chart/data"): {"datasource": {"id": 1, "type": "table"}, "queries": [{"metrics": [count]}]},
        ("POST", "sqllab/execute/"): {"database_id": 1, "sql": "SELECT 1"},
        ("PUT", "dashboard/1"): {"dashboard_title": "mine"},
    }
    headers = {"X-CSRFToken": token, "Referer": dashboard.url}
    for (method, path), data in asked.items():
        address = f"{dashboard.url}/api/v1/{path}"
        answer = dashboard.page.request.fetch(address, method=method, data=data, headers=headers)
        assert answer.status == 403, (path, answer.text())


SQL = {"expressionType": "SQL", "sqlExpression": "max(query_to_xml('SELECT 1', true, true, '')::text)", "label": "x"}
# What may be put into a query's place, by the part that is refused.
FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("metrics", {"metrics": [SQL]}),
    ("columns", {"columns": ["snapshot_ts"]}),
    ("columns", {"columns": [{"expressionType": "SQL", "sqlExpression": "version()", "label": "x"}]}),
    ("orderby", {"orderby": [["version()", True]]}),
    ("filters", {"filters": [{"col": SQL, "op": "==", "val": 1}]}),
    ("extras", {"extras": {"where": "version() <> ''"}}),
    ("result_type", {"result_type": "samples"}),
    ("row_limit", {"row_limit": 100_000}),
]


@pytest.mark.parametrize("user", [VIEWER], indirect=True)
def test_a_viewer_asks_what_the_charts_and_filters_ask_and_no_sql(dashboard: Dashboard) -> None:
    dashboard.open("now")
    dashboard.page.get_by_test_id("filter-bar").locator(".ant-select").click()
    dashboard.wait_for(lambda: "NATIVE_FILTER-area" in dashboard.queries, "the filter's own query")
    chart = dashboard.queries["now_documents"]
    offered = dashboard.queries["NATIVE_FILTER-area"]

    def answered(query: dict[str, Any], change: dict[str, Any], form: dict[str, Any]) -> APIResponse:
        queries = [one | change for one in query["queries"]]
        return dashboard.ask(query | {"queries": queries, "form_data": query["form_data"] | form})

    for query in (chart, offered):
        assert answered(query, {}, {}).ok
        for what, change in FOREIGN if query is chart else FOREIGN[:-1]:
            answer = answered(query, change, {})
            assert answer.status == 403, (what, answer.text())
            assert what in answer.text() or "columns" in answer.text()
    other = next(number for number, name in dashboard.names.items() if name != "now_documents")
    no_chart = {"slice_id": None, "chart_id": None}
    for form in ({"slice_id": other}, no_chart, {"type": "NATIVE_FILTER", "native_filter_id": "NATIVE_FILTER-area"}):
        assert answered(chart, {}, form).status == 403, form


TITLES = [
    '<a href="https://evil.example/login"><b>Your session has ended: sign in again</b></a>',
    '<img src="https://evil.example/x.png" onerror="window.run=1">after it',
    "<script>window.run=1</script>after it",
    "Effect of a<b and c>d on IL-2 &amp; others",
]


@pytest.mark.parametrize("user", [VIEWER], indirect=True)
def test_a_title_is_text_whatever_html_it_holds(dashboard: Dashboard) -> None:
    def change(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for result in body["result"]:
            for row, title in zip(result["data"], TITLES, strict=False):
                row.update({name: title for name in row if name == "title"})
        route.fulfill(response=answer, body=json.dumps(body))

    dashboard.page.route("**/api/v1/chart/data**", change)
    dashboard.open("report")
    for title in TITLES:
        cell = dashboard.page.locator("td", has=dashboard.page.get_by_text(title, exact=True)).first
        assert cell.locator("a, b, img, script").count() == 0, cell.inner_html()
    assert dashboard.page.evaluate("window.run") is None


@pytest.mark.parametrize("user", [VIEWER], indirect=True)
def test_the_charts_fit_the_width_of_a_phone(dashboard: Dashboard) -> None:
    dashboard.page.set_viewport_size({"width": PHONE, "height": 6000})
    dashboard.open("now")
    holder = "[data-test=dashboard-component-chart-holder]:has([data-test=chart-grid-component])"
    charts = dashboard.page.locator(holder)
    assert charts.count() == len(TITLES_OF["now"])
    for chart in charts.all():
        box = chart.bounding_box()
        assert box
        is_tile = chart.locator("[data-test-viz-type^=big_number]").count() > 0
        assert box["width"] > PHONE * (0.4 if is_tile else 0.75)
        assert box["x"] + box["width"] <= PHONE


def test_setting_up_superset_again_changes_nothing(superset: Stack) -> None:
    def assets() -> str:
        folder = superset.home.folder("superset")
        database = f"file:{folder / 'superset.db'}?mode=ro"
        tables = ("dashboards", "slices", "tables", "table_columns", "sql_metrics", "dbs", "ab_user", "ab_role")
        with sqlite3.connect(database, uri=True) as connection:
            return str([connection.execute(f"SELECT count(*) FROM {table}").fetchall() for table in tables])

    before = assets()
    stamp = superset.home.folder("superset") / "set-up.stamp"
    stamp.write_text("of other assets", encoding="ascii")
    superset.superset.prepare()
    assert stamp.read_text(encoding="ascii") != "of other assets"
    assert assets() == before
