"""The dashboards' own files: what a page may ask with them, and that it draws text as text."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from stack.chart_queries import chart_refusal, filter_refusal, filters, narrowed_by
from stack.settings import DASHBOARDS

CHARTS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in DASHBOARDS.glob("charts/*.yaml")}
BY_DAY = CHARTS["report_chosen"]["params"]
FILTERED = {"clinical_area", "title", *narrowed_by(BY_DAY)}
AXIS = {"columnType": "BASE_AXIS", "sqlExpression": "event_date", "label": "event_date", "timeGrain": "P1D"}
SQL: dict[str, Any] = {"expressionType": "SQL", "sqlExpression": "max(version())", "label": "clicks"}
# A query as Superset has it of the chart BY_DAY, one document of which was clicked.
ASKED: dict[str, Any] = {
    "annotation_layers": [],
    "columns": [AXIS, "item"],
    "extras": {"having": "", "where": "", "time_grain_sqla": "P1D"},
    "filter": [
        {"col": "event_date", "op": "TEMPORAL_RANGE", "val": "No filter"},
        {"col": "title", "op": "IN", "val": ["Sepsis"]},
    ],
    "granularity": None,
    "metrics": ["times"],
    "orderby": [["times", False]],
    "post_processing": [{"operation": "pivot", "options": {}}, {"operation": "flatten"}],
    "result_type": "full",
    "row_limit": 10000,
    "row_offset": 0,
    "series_columns": ["item"],
    "series_limit_metric": "weight",
    "time_offsets": [],
    "time_shift": None,
}
# One change each, and the part of the query that is refused.
FOREIGN: list[tuple[str, Any]] = [
    ("columns", ["item"]),
    ("columns", [AXIS, "item", "title"]),
    ("columns", [AXIS | {"sqlExpression": "version()"}, "item"]),
    ("columns", [SQL, "item"]),
    ("metrics", [SQL]),
    ("metrics", ["times", "weight"]),
    ("metrics", None),
    ("row_limit", 10001),
    ("row_offset", 1),
    ("orderby", [["version()", True]]),
    ("orderby", [[SQL, True]]),
    ("series_columns", [SQL]),
    ("series_limit_metric", SQL),
    ("granularity", "version()"),
    ("filters", [{"col": SQL, "op": "==", "val": 1}]),
    ("filters", [{"col": "session_id", "op": "==", "val": 1}]),
    ("extras", {"where": "version() = ''"}),
    ("extras", {"having": "count(*) > 1"}),
    ("post_processing", [{"operation": "resample", "options": {"rule": "1ns"}}]),
    ("result_type", "samples"),
    ("annotation_layers", [{"name": "x"}]),
    ("time_offsets", ["1 year ago"]),
    ("time_shift", "1 year"),
]


def test_a_charts_query_is_its_own_however_it_is_narrowed_and_no_other_is() -> None:
    assert chart_refusal(ASKED, BY_DAY, FILTERED) == ""
    for what, value in FOREIGN:
        changed = ASKED | {"filter" if what == "filters" else what: value}
        assert chart_refusal(changed, BY_DAY, FILTERED) == what, (what, value)


def test_a_chart_of_two_queries_asks_both_and_no_mixture() -> None:
    traffic = CHARTS["report_traffic"]["params"]
    asked = ASKED | {"columns": [AXIS], "series_columns": [], "series_limit_metric": None, "filter": [], "orderby": []}
    assert traffic["metrics"] != traffic["metrics_b"]
    for metrics in (traffic["metrics"], traffic["metrics_b"]):
        assert chart_refusal(asked | {"metrics": metrics}, traffic, set()) == ""
    assert chart_refusal(asked | {"metrics": [*traffic["metrics"], *traffic["metrics_b"]]}, traffic, set()) == "metrics"


def test_a_table_may_be_sorted_by_a_column_that_it_does_not_show() -> None:
    areas = CHARTS["now_trend"]["params"]
    asked = ASKED | {"columns": areas["all_columns"], "metrics": [], "series_columns": [], "series_limit_metric": None}
    asked |= {"filter": [], "row_limit": 50}
    assert "sort_by" not in areas["all_columns"]
    assert chart_refusal(asked | {"orderby": [["sort_by", False]]}, areas, set()) == ""
    assert chart_refusal(asked | {"orderby": [["snapshot_ts", False]]}, areas, set()) == "orderby"


def test_a_filter_offers_the_values_of_its_column_and_no_others() -> None:
    asked = ASKED | {"columns": ["title"], "metrics": [], "orderby": [["title", True]], "filter": []}
    asked |= {"series_columns": [], "series_limit_metric": None}
    assert filter_refusal(asked, "title") == ""
    assert filter_refusal(asked, "clinical_area") == "columns"
    assert filter_refusal(asked, "") == "columns"
    assert filter_refusal(asked | {"metrics": [SQL]}, "title") == "columns"
    assert filter_refusal(asked | {"extras": {"where": "version() = ''"}}, "title") == "extras"


def test_filters_are_those_that_offer_a_column() -> None:
    offered = {"id": "area", "targets": [{"datasetId": 7, "column": {"name": "clinical_area"}}]}
    metadata = {"native_filter_configuration": [{"id": "days", "targets": [{}]}, offered]}
    assert list(filters(metadata)) == [("area", 7, "clinical_area")]
    assert list(filters({})) == []


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_draws_text_as_text(chart: str) -> None:
    params = CHARTS[chart]["params"]
    drawn = ("table", "mixed_timeseries", "heatmap_v2")  # a handlebars chart would need eval, which the pages forbid
    assert params["viz_type"] in drawn or params["viz_type"].startswith(("echarts_", "big_number")), "look at it"
    assert params.get("allow_render_html", True) is False or params["viz_type"] != "table"
