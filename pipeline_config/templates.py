"""What the Jinja in a value reads, and whether Airflow will know it."""

from __future__ import annotations

import datetime as dt
import re
import shlex
import time
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

from pipeline_config.schema import did_you_mean

# Names in Airflow's template context; a test holds them against Airflow's own.
CONTEXT = frozenset(
    """
    asset_state_store conn dag dag_run data_interval_end data_interval_start ds ds_nodash expanded_ti_count inlet_events
    inlets logical_date macros map_index_template outlet_events outlets params partition_date partition_key
    prev_data_interval_end_success prev_data_interval_start_success prev_end_date_success prev_start_date_success
    run_id task task_instance task_instance_key_str task_reschedule_count task_state_store test_mode ti
    triggering_asset_events try_number ts ts_nodash ts_nodash_with_tz var
    """.split()
)
# Those that a run without a logical date does not have: one that somebody triggers.
UNCERTAIN = frozenset("data_interval_end data_interval_start ds ds_nodash logical_date ts ts_nodash".split())
# Names of Airflow 2 that are gone, and what to read instead.
GONE = {
    "execution_date": "logical_date",
    "next_execution_date": "data_interval_end",
    "prev_execution_date": "data_interval_start",
    "next_ds": "data_interval_end | ds",
    "next_ds_nodash": "data_interval_end | ds_nodash",
    "prev_ds": "data_interval_start | ds",
    "prev_ds_nodash": "data_interval_start | ds_nodash",
    "yesterday_ds": "macros.ds_add(ds, -1)",
    "yesterday_ds_nodash": "macros.ds_add(ds, -1)",
    "tomorrow_ds": "macros.ds_add(ds, 1)",
    "tomorrow_ds_nodash": "macros.ds_add(ds, 1)",
    "conf": "dag_run.conf",
}
SECRET_FIELDS = frozenset({"password", "get_password", "get_uri", "uri", "as_json", "get_extra", "extra"})
_MACROS = """
    datetime datetime_diff_for_humans dateutil ds_add ds_format ds_format_locale json random time timedelta uuid yaml
    """
_DAG_RUN = """
    clear_number conf consumed_asset_events dag_id data_interval_end data_interval_start end_date logical_date note
    partition_date partition_key run_after run_id run_type start_date state team_name triggering_user_name
    """
# What can be read of some of them.
ATTRIBUTES = {
    "var": frozenset({"value", "json"}),
    "macros": frozenset(_MACROS.split()),
    "dag_run": frozenset(_DAG_RUN.split()),
}
MAX_RENDERED = 10_000_000  # characters of a text, bits of a number: far above what any command takes
MAX_SECONDS = 1
_FILTERS = ("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "shell_quote")


@dataclass(frozen=True)
class Unknown:
    """A name that cannot be read: where it stands in the template, and which names there are, or what to do."""

    name: str
    message: str
    offset: int
    known: list[str]
    fix: str = ""

    @property
    def hint(self) -> str:
        """What to do."""
        return self.fix or did_you_mean(self.name, self.known)


@dataclass
class Reads:
    """What a template reads, each name with the place where it first stands in the template."""

    variables: dict[str, int] = field(default_factory=dict)
    connections: dict[str, int] = field(default_factory=dict)
    params: dict[str, int] = field(default_factory=dict)
    uncertain: dict[str, int] = field(default_factory=dict)
    unknown: list[Unknown] = field(default_factory=list)


class RenderError(Exception):
    """A template that can be read and cannot be rendered: why."""


class _Bounded(SandboxedEnvironment):
    """Jinja whose arithmetic ends soon: `10 ** 10 ** 10` or `"x" * 10 ** 9` is a slip, not a wish."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int) and isinstance(right, int)
        if operator == "**":
            size = left.bit_length() * abs(right) if numbers else 0
        else:
            size = 0 if numbers else _length(left) * _length(right)
        if size > MAX_RENDERED:
            raise RenderError(f"{operator} would make more than {MAX_RENDERED:,} characters or bits")
        return super().call_binop(context, operator, left, right)


def _length(value: Any) -> int:
    """Of a text or list its length; of a number how often it would repeat one."""
    return len(value) if isinstance(value, Sized) else int(value)


@cache
def environment() -> SandboxedEnvironment:
    """Jinja as Airflow has it, with the filters that the operators add; undefined names are errors."""
    jinja = _Bounded(undefined=jinja2.StrictUndefined)
    for name in _FILTERS:
        jinja.filters[name] = shlex.quote if name == "shell_quote" else str
    jinja.filters["ds"] = lambda moment: moment.strftime("%Y-%m-%d")
    return jinja


_NOTHING = Reads()


def reads(text: str) -> Reads:
    """What `text` reads, to be read only. Raises jinja2.TemplateSyntaxError (where_wrong says where)."""
    return _reads(text) if "{" in text else _NOTHING


@cache
def _reads(text: str) -> Reads:
    found = Reads()
    tree = _parsed(text)
    words = _words(text)
    found.unknown += _unknown_filters(tree, words)
    if found.unknown:
        return found  # Jinja itself goes no further
    for name in sorted(meta.find_undeclared_variables(tree)):
        offset = words.get(name, 0)
        if name in GONE:
            message = f"{name!r} is gone since Airflow 3"
            found.unknown.append(Unknown(name, message, offset, [], f"read {GONE[name]}"))
        elif name not in CONTEXT:
            message = f"Airflow knows no {name!r} in a template"
            found.unknown.append(Unknown(name, message, offset, sorted(CONTEXT)))
        elif name in UNCERTAIN:
            found.uncertain[name] = offset
    for chain in _chains(tree):
        _note(found, chain, words)
    return found


def _parsed(text: str) -> nodes.Template:
    """The tree of a template; raises jinja2.TemplateSyntaxError, also of one that is nested too deep for Jinja."""
    try:
        return environment().parse(text)
    except jinja2.TemplateSyntaxError:
        raise
    except (RecursionError, ValueError, OverflowError, MemoryError) as error:
        raise jinja2.TemplateSyntaxError(f"cannot be read: {error}", 1) from error


def _unknown_filters(tree: nodes.Template, words: dict[str, int]) -> Iterator[Unknown]:
    for kind, known, node_type in (
        ("filter", environment().filters, nodes.Filter),
        ("test", environment().tests, nodes.Test),
    ):
        for node in tree.find_all(node_type):
            if node.name not in known:
                yield Unknown(node.name, f"there is no {kind} {node.name!r}", words.get(node.name, 0), list(known))


def _note(found: Reads, chain: list[str], words: dict[str, int]) -> None:
    """Note what a chain such as var.value.X reads."""
    match chain:
        case ["var", "value" | "json", name, *_]:
            found.variables.setdefault(name, words.get(name, 0))
        case ["conn", name, *fields]:
            found.connections.setdefault(name, words.get(name, 0))
            if fields and fields[0] in SECRET_FIELDS:
                message = f"conn.{name}.{fields[0]} is a secret, and a rendered field, a log and a process list show it"
                fix = "declare the connection, the operator hands it on"
                found.unknown.append(Unknown(fields[0], message, words.get(fields[0], 0), [], fix))
        case ["params", name, *_]:
            found.params.setdefault(name, words.get(name, 0))
        case [root, name, *_] if root in ATTRIBUTES and name not in ATTRIBUTES[root]:
            message = f"{root} has no {name!r}"
            found.unknown.append(Unknown(name, message, words.get(name, 0), sorted(ATTRIBUTES[root])))


def _words(text: str) -> dict[str, int]:
    """Where each name, and each quoted word, first stands in a template."""
    words: dict[str, int] = {}
    offset = 0
    for _, kind, value in environment().lex(text):
        if kind == "name":
            words.setdefault(value, offset)
        elif kind == "string":
            words.setdefault(value[1:-1], offset + 1)
        offset += len(value)
    return words


def where_wrong(text: str, error: jinja2.TemplateSyntaxError) -> int:
    """How many characters into `text` the expression stands that is wrong: Jinja itself only counts lines."""
    for part in _PARTS.finditer(text):
        try:
            environment().parse(part[0])
        except jinja2.TemplateSyntaxError as wrong:
            word = re.search(r"(?:got|unexpected|No \w+ named) '([^']+)'", str(wrong.message))
            found = text.find(word[1], part.start() + 2) if word else -1
            if _BLOCK.match(part[0]) and wrong.message != error.message:
                continue  # one half of a block is always wrong alone
            return found if 0 <= found < part.end() else part.start()
    return 0


_PARTS = re.compile(r"\{\{.*?(?:\}\}|$)|\{%.*?(?:%\}|$)", re.DOTALL)
_BLOCK = re.compile(r"\{%")


def what_is_wrong(text: str) -> Iterator[tuple[int, str, str]]:
    """Each error of a template: its offset, the message and a hint."""
    try:
        found = reads(text)
    except jinja2.TemplateSyntaxError as error:
        yield where_wrong(text, error), f"Jinja: {error.message}", ""
        return
    for unknown in found.unknown:
        yield unknown.offset, f"Jinja: {unknown.message}", unknown.hint


def _chains(tree: nodes.Template) -> Iterator[list[str]]:
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Call)):
        names = _chain(node)
        if len(names) > 1 and names[-1] != "get":
            yield names


def _chain(node: nodes.Node) -> list[str]:
    """`a.b["c"]` and `a.b.get("c")` as [a, b, c]; nothing for what has no such form."""
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Getattr):
        inner = _chain(node.node)
        return [*inner, node.attr] if inner else []
    name: nodes.Node | None = None
    if isinstance(node, nodes.Getitem):
        name, node = node.arg, node.node
    elif (
        isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "get" and node.args
    ):
        name, node = node.args[0], node.node.node
    inner = _chain(node) if isinstance(name, nodes.Const) else []
    return [*inner, str(name.value)] if inner and isinstance(name, nodes.Const) else []


class Anything(dict[str, Any]):
    """A stand-in for what only a run knows: any attribute is some text."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name, f"<{name}>")


def render(text: str, variables: dict[str, str], params: dict[str, Any]) -> str:
    """`text` as a run would render it, with these variables and params; the run itself is a stand-in of one day.

    Raises RenderError, also when it takes too long or becomes too large.
    """
    try:
        return "".join(_bounded(_compiled(text).generate(_stand_ins(variables, params))))
    except RenderError:
        raise
    except Exception as error:
        raise RenderError(str(error) or type(error).__name__) from error


def _bounded(parts: Iterator[str]) -> Iterator[str]:
    size, deadline = 0, time.monotonic() + MAX_SECONDS
    for part in parts:
        size += len(part)
        if size > MAX_RENDERED:
            raise RenderError(f"it becomes longer than {MAX_RENDERED:,} characters")
        if time.monotonic() > deadline:
            raise RenderError(f"it takes longer than {MAX_SECONDS} s")
        yield part


def _stand_ins(variables: dict[str, str], params: dict[str, Any]) -> dict[str, Any]:
    now = dt.datetime(2024, 1, 2, 15, tzinfo=dt.UTC)
    run = Anything(run_after=now, run_id="<run_id>", conf={})
    return {
        "var": {"value": variables, "json": variables},
        "params": params,
        "dag_run": run,
        "ti": Anything(),
        "macros": {"timedelta": dt.timedelta, "datetime": dt.datetime},
        "ds": "2024-01-02",
        "ts": now.isoformat(),
        "run_id": "<run_id>",
        "conn": Anything(),
        "dag": Anything(),
        "task": Anything(),
        "logical_date": now,
        "data_interval_start": now,
        "data_interval_end": now,
    }


@cache
def _compiled(text: str) -> jinja2.Template:
    return environment().from_string(text)
