"""What a dashboard's page may ask of PostgreSQL: the queries of its charts and filters, narrowed as its filters narrow.

A page builds its queries in the browser, so its readers can send others. Also run by Superset's Python.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

# What a page's own queries do with their rows after PostgreSQL; others could fill the memory.
STEPS = frozenset({"pivot", "rename", "sort", "flatten", "rank", "contribution"})
_COLUMNS = ("x_axis", "groupby", "all_columns")
_METRICS = ("metric", "metrics")


def named(params: Mapping[str, Any], *keys: str) -> list[str]:
    """The columns or metrics that a chart's params name under these keys."""
    values = (params.get(key) for key in keys)
    lists = (value if isinstance(value, list) else [value] for value in values if value)
    return [name for names in lists for name in names if isinstance(name, str)]


def columns_of(params: Mapping[str, Any]) -> list[str]:
    """The names of the columns that a chart shows, from its params."""
    return named(params, *_COLUMNS)


def sorted_by(params: Mapping[str, Any]) -> list[str]:
    """The columns or metrics that a chart is sorted by, shown or not."""
    return [*named(params, "timeseries_limit_metric"), *(json.loads(one)[0] for one in params.get("order_by_cols", []))]


def narrowed_by(params: Mapping[str, Any]) -> list[str]:
    """The columns by which a chart is narrowed, or narrows others when it is clicked."""
    return [*columns_of(params), *(str(one.get("subject")) for one in params.get("adhoc_filters") or [])]


def chart_refusal(query: Mapping[str, Any], params: Mapping[str, Any], filtered: set[str]) -> str:
    """Why this query (the attributes of Superset's QueryObject) is none of the chart with `params`; "" if it is.

    `filtered` are the columns that its dashboard's filters narrow.
    """
    refusals = [_refusal(query, one, filtered) for one in each_query(params)]
    return "" if "" in refusals else refusals[0]


def each_query(params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A chart's params, once for each of its queries: those of a second one have names that end in _b."""
    second = {name.removesuffix("_b"): value for name, value in params.items() if name.endswith("_b")}
    return [params, {**params, **second}] if second else [params]


def _refusal(query: Mapping[str, Any], params: Mapping[str, Any], filtered: set[str]) -> str:
    columns, metrics = columns_of(params), named(params, *_METRICS)
    limit = params.get("row_limit") or float("inf")
    rules = {
        "columns": Counter(map(_name, query["columns"])) == Counter(columns),
        "metrics": Counter(map(_name, query["metrics"] or [])) == Counter(metrics),
        "row_limit": (query["row_limit"] or 0) <= limit,
        "row_offset": not query["row_offset"],
    }
    return _broken(rules) or _foreign(query, {*columns, *metrics, *sorted_by(params)}, filtered)


def filter_refusal(query: Mapping[str, Any], column: str) -> str:
    """Why this query does not belong to a filter that offers the values of `column`; "" if it does."""
    if [_name(one) for one in query["columns"]] != [column] or query["metrics"]:
        return "columns"
    return _foreign(query, {column}, {column})


def _foreign(query: Mapping[str, Any], known: set[str], filtered: set[str]) -> str:
    """What a query has that is neither known nor empty: where SQL could be, or other rows be requested."""
    none_but = {*known, None, ""}
    extras = query["extras"] or {}
    rules = {
        "orderby": {_name(one) for one, *_ in query["orderby"]} <= none_but,
        "series_columns": set(map(_name, query["series_columns"])) <= none_but,
        "series_limit_metric": _name(query["series_limit_metric"]) in none_but,
        "granularity": _name(query["granularity"]) in {*none_but, *filtered},
        "filters": {_name(one["col"]) for one in query["filter"]} <= filtered,
        "extras": not (extras.get("where") or extras.get("having")),
        "post_processing": {step["operation"] for step in query["post_processing"]} <= STEPS,
        "result_type": str(query["result_type"]) == "full",
        **{name: not query[name] for name in ("annotation_layers", "time_offsets", "time_shift")},
    }
    return _broken(rules)


def _broken(rules: Mapping[str, bool]) -> str:
    return next((what for what, kept in rules.items() if not kept), "")


def _name(term: Any) -> Any:
    """The column or metric of a query's term; for any other term, a name that no chart has."""
    axis = isinstance(term, Mapping) and term.get("columnType") == "BASE_AXIS"
    name = term.get("sqlExpression") if axis else term
    return name if isinstance(name, str) or name is None else object()


def filters(metadata: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """From a dashboard's metadata, each filter's id with the dataset and the column whose values it offers."""
    for one in metadata.get("native_filter_configuration", []):
        for target in one.get("targets", []):
            if "datasetId" in target:
                yield one["id"], target["datasetId"], target["column"]["name"]
