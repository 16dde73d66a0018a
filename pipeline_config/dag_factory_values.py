"""Values of dag-factory's own YAML as plain ones: dates, durations, assets, params, joined texts."""

from __future__ import annotations

import datetime as dt
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


class Unknown(dict[str, Any]):
    """Code that dag-factory would run: `__type__` of something that has no form here."""


def plain(value: Any) -> Any:
    """`value` with what dag-factory builds from `__type__` and `__join__` as durations, URIs, Params or Unknown."""
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
    return Unknown(value)


def minutes(value: Any) -> float | None:
    """A duration in minutes, whole where it is; None for what is none. A number is seconds."""
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
    """A schedule of assets as ours: a list of URIs, or `any:` or `all:` of them; None for what is none."""
    if isinstance(value, str):
        return value if "://" in value else None
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
