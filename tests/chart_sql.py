"""The SQL of the dashboards' charts, as Superset makes it of their files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from stack.chart_queries import columns_of, each_query, named, sorted_by
from stack.settings import DASHBOARDS


def of_charts(days: Sequence[str] = (), where: Mapping[str, str] = {}) -> dict[str, str]:
    """The queries of all charts by name; a second one has "(2)".

    `days` narrows charts by day to [first, end), as the dashboards' filter does, and `where` a chart by a condition.
    """
    files = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in DASHBOARDS.glob("datasets/*/*.yaml"))
    datasets = {dataset["uuid"]: dataset for dataset in files}
    found = {}
    for path in sorted(DASHBOARDS.glob("charts/*.yaml")):
        chart = yaml.safe_load(path.read_text(encoding="utf-8"))
        for number, params in enumerate(each_query(chart["params"]), start=1):
            name = path.stem if number == 1 else f"{path.stem} ({number})"
            narrowed = [where[path.stem]] if path.stem in where else []
            found[name] = _query(params, datasets[chart["dataset_uuid"]], [*_by_day(params, days), *narrowed])
    return found


def _by_day(params: Mapping[str, Any], days: Sequence[str]) -> Iterator[str]:
    for one in params["adhoc_filters"]:
        if one["subject"] == "event_date" and days:
            first, end = days
            yield f"event_date >= '{first}' AND event_date < '{end}'"


def _query(params: Mapping[str, Any], dataset: Mapping[str, Any], conditions: Sequence[str]) -> str:
    expressions = {metric["metric_name"]: metric["expression"] for metric in dataset["metrics"]}
    table = f"({dataset['sql']}) AS virtual_table" if dataset["sql"] else dataset["table_name"]
    columns, metrics = columns_of(params), named(params, "metric", "metrics")
    where = list(conditions)
    if "limit" in params:
        top = expressions[params["timeseries_limit_metric"]]
        (series,) = params["groupby"]
        inner = f" WHERE {' AND '.join(where)}" if where else ""
        where.append(
            f"{series} IN (SELECT {series} FROM {table}{inner} GROUP BY 1 ORDER BY {top} DESC LIMIT {params['limit']})"
        )
    selected = [f'"{column}"' for column in columns] + [f'{expressions[name]} AS "{name}"' for name in metrics]
    parts = [f"SELECT {', '.join(selected)} FROM {table}"]
    if where:
        parts.append(f"WHERE {' AND '.join(where)}")
    if metrics and columns:
        parts.append(f"GROUP BY {', '.join(str(number) for number in range(1, len(columns) + 1))}")
    if order := list(_order(params, expressions)):
        parts.append(f"ORDER BY {', '.join(order)}")
    return "\n".join([*parts, f"LIMIT {params.get('row_limit', 50_000)}"])


def _order(params: Mapping[str, Any], expressions: Mapping[str, str]) -> Iterator[str]:
    ascending = dict(json.loads(one) for one in params.get("order_by_cols", []))
    for name in sorted_by(params):
        yield f"{expressions.get(name, name)} {'ASC' if ascending.get(name) else 'DESC'}"
