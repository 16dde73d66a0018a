"""Values of dag-factory's own YAML as plain values: dates, durations, assets, params, joined texts."""

from __future__ import annotations

import ast
import datetime as dt
import itertools
import re
from dataclasses import dataclass
from typing import Any

_AMOUNT = re.compile(r"(\d+)\s*(day|hour|minute|second)s?")
_DURATION = re.compile(rf"\s*(?:{_AMOUNT.pattern}[\s,]*)+")
TYPE = "__type__"


@dataclass(frozen=True)
class Param:
    """A param with the JSON Schema that it was given."""

    schema: dict[str, Any]


class NoEquivalent(dict[str, Any]):
    """Code that dag-factory would run: `__type__` of something that has no equivalent here."""


def plain(value: Any) -> Any:
    """`value` with what dag-factory builds of `__type__` and `__join__`: durations, URIs, Params or NoEquivalent."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if not isinstance(value, dict):
        return value
    inner = {str(key): plain(item) for key, item in value.items()}
    if set(inner) == {"__join__"} and isinstance(inner["__join__"], list):
        return "".join(map(str, inner["__join__"]))
    return _built(inner) if TYPE in inner else inner


def _built(value: dict[str, Any]) -> Any:
    kind = str(value[TYPE]).rpartition(".")[2]
    arguments = {key: item for key, item in value.items() if not key.startswith("__")}
    positional = value.get("__args__", [])
    if kind == "timedelta" and not positional:
        return dt.timedelta(**arguments)
    if kind in ("Asset", "Dataset") and (uri := arguments.get("uri") or next(iter(positional), None)):
        return uri
    if kind == "Param":
        return Param({**({"default": positional[0]} if positional else {}), **arguments})
    return NoEquivalent(value)


def minutes(value: Any) -> float | None:
    """A duration in minutes, an integer if possible; None if it is not one. A number means seconds."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        value = sum((dt.timedelta(**{f"{unit}s": int(n)}) for n, unit in _AMOUNT.findall(value)), dt.timedelta())
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = dt.timedelta(seconds=value)
    if not isinstance(value, dt.timedelta):
        return None
    number = value.total_seconds() / 60
    return int(number) if number.is_integer() else number


def day(value: Any) -> str | None:
    """A date as YYYY-MM-DD; None for one that moves, such as `2 days`, and for a time within the day."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ]00:00(?::00)?.*)?", str(value))
    return match[1] if match else None


def assets(value: Any) -> Any:
    """A schedule of assets as ours: URIs, or `any:` or `all:` of them; None if it is not one."""
    if isinstance(value, str):
        return _condition(value) if "://" in value else None
    if isinstance(value, list):
        items = [assets(item) for item in value]
        return items if items and all(isinstance(item, str) for item in items) else None
    if isinstance(value, dict) and set(value) == {"datasets"}:
        return assets(value["datasets"])
    if isinstance(value, dict) and len(value) == 1:
        ((key, items),) = value.items()
        ours = {"__or__": "any", "or": "any", "__and__": "all", "and": "all"}.get(key)
        inner = [assets(item) for item in items] if ours and isinstance(items, list) else [None]
        return {ours: inner} if all(inner) else None
    return None


def _condition(text: str) -> Any:
    """`(s3://a & s3://b) | s3://c` as ours; one URI as it is."""
    uris = _URI.findall(text)
    if text in uris or not all("://" in uri for uri in uris):
        return text if text in uris else None
    number = itertools.count()
    try:
        tree = ast.parse(_URI.sub(lambda _: f"_{next(number)}", text), mode="eval").body
    except SyntaxError:
        return None
    return _joined(tree, uris)


_URI = re.compile(r"[^\s()&|]+")


def _joined(node: ast.expr, uris: list[str]) -> Any:
    match node:
        case ast.Name(id=name):
            return uris[int(name[1:])]
        case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
            key = "all" if isinstance(node.op, ast.BitAnd) else "any"
            sides = [_joined(node.left, uris), _joined(node.right, uris)]
            same = [side[key] if isinstance(side, dict) and key in side else [side] for side in sides]
            return {key: [item for items in same for item in items]} if all(sides) else None
    return None


def cron(value: Any) -> tuple[str, str] | None:
    """Expression and time zone ("" for none) of Airflow's timetable of a cron expression; None for what is none."""
    if not isinstance(value, NoEquivalent) or not str(value[TYPE]).endswith(".CronTriggerTimetable"):
        return None
    expression = value.get("cron") or next(iter(value.get("__args__", [])), None)
    return (str(expression), str(value.get("timezone") or "")) if expression else None
