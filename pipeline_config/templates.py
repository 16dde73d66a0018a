"""The names that the Jinja in a value reads, and whether Airflow will know them."""

from __future__ import annotations

import re
import time
from collections.abc import Container, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from pipeline_config import stand_ins
from pipeline_config.errors import RenderError, RunValueError
from pipeline_config.model import Values
from pipeline_config.schema import did_you_mean

if TYPE_CHECKING:
    from jinja2.environment import TemplateExpression
    from jinja2.runtime import Context

# Names in Airflow's template context; a test compares them with Airflow's own.
CONTEXT = frozenset(
    """
    asset_state_store conn dag dag_run data_interval_end data_interval_start ds ds_nodash expanded_ti_count inlet_events
    inlets logical_date macros map_index_template outlet_events outlets params partition_date partition_key
    prev_data_interval_end_success prev_data_interval_start_success prev_end_date_success prev_start_date_success
    run_id task task_instance task_instance_key_str task_reschedule_count task_state_store test_mode ti
    triggering_asset_events try_number ts ts_nodash ts_nodash_with_tz var
    """.split()
)
# Those that a run without a logical date lacks, as when somebody triggers it.
UNCERTAIN = frozenset("data_interval_end data_interval_start ds ds_nodash logical_date ts ts_nodash".split())
# Names of Airflow 2 that were removed, and their replacements.
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
# What Python code of a DAG imports, and how a template reads the same.
IMPORTED = {"Variable": "var.value.NAME", "Param": "params.NAME", "BaseHook": "conn.NAME", "Connection": "conn.NAME"}
# The fields of a connection that are not secret, and the keys of its extra that are.
OPEN_FIELDS = frozenset({"conn_id", "conn_type", "description", "host", "login", "port", "schema"})
_SECRET_EXTRA = re.compile(r"(?i)passw|passphrase|secret|token|credential|(?:^|_)key$|keyfile")
_MACROS = """
    datetime datetime_diff_for_humans dateutil ds_add ds_format ds_format_locale json random time timedelta uuid yaml
    """
_DAG_RUN = """
    clear_number conf consumed_asset_events dag_id data_interval_end data_interval_start end_date logical_date note
    partition_date partition_key run_after run_id run_type start_date state team_name triggering_user_name
    """
_TASK_INSTANCE = """
    axcom_pull axcom_push bundle_instance context_carrier dag_id dag_version_id end_date get_dag get_dagrun_state
    get_dr_count get_first_reschedule_date get_previous_dagrun get_previous_ti get_relevant_upstream_map_indexes
    get_task_breadcrumbs get_task_states get_template_context get_ti_count hostname id is_mapped log_url map_index
    mark_success_url max_tries queue render_templates rendered_map_index run_id sentry_integration start_date state
    stats_tags task task_id try_number xcom_pull xcom_push
    """
CONNECTION = frozenset(
    """
    EXTRA_KEY aextra_dejson aget_uri as_json conn_id conn_type description extra extra_dejson get_extra_dejson get_hook
    get_uri host login password port schema test_connection to_dict
    """.split()
)
# What can be read of some of them.
ATTRIBUTES = {
    "var": frozenset({"value", "json"}),
    "macros": frozenset(_MACROS.split()),
    "dag_run": frozenset(_DAG_RUN.split()),
    "ti": frozenset(_TASK_INSTANCE.split()),
    "task_instance": frozenset(_TASK_INSTANCE.split()),
}
MAX_RENDERED = 1_000_000  # characters of a text, bits of a number: far above what any command accepts
MAX_SECONDS = 1
MAX_TEMPLATE = 10_000  # characters of a template: Jinja's recursion would not end on a longer one


@dataclass(frozen=True)
class UnreadableName:
    """A name that cannot be read: where it is in the template, and which names exist, or what to do."""

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
    """What a template reads, each name with its first place in the template."""

    variables: dict[str, int] = field(default_factory=dict)
    as_json: dict[str, int] = field(default_factory=dict)
    connections: dict[str, int] = field(default_factory=dict)
    params: dict[str, int] = field(default_factory=dict)
    uncertain: dict[str, int] = field(default_factory=dict)
    unknown: list[UnreadableName] = field(default_factory=list)


class _Bounded(SandboxedEnvironment):
    """Jinja with bounded arithmetic: `10 ** 10 ** 10` or `"x" * 10 ** 9` is a mistake."""

    intercepted_binops = frozenset(["*", "**", "%"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _size(operator, left, right) > MAX_RENDERED:
            raise RenderError(f"{operator} would make more than {MAX_RENDERED:,} characters or bits")
        return super().call_binop(context, operator, left, right)


def _size(operator: str, left: Any, right: Any) -> int:
    """How many characters, items or bits an operation produces; 0 if that does not matter."""
    numbers = isinstance(left, int) and isinstance(right, int)
    if operator == "%":
        return max(map(int, _WIDTH.findall(left)), default=0) if isinstance(left, str) else 0
    if operator == "**":
        return left.bit_length() * abs(right) if numbers else 0
    return 0 if numbers else _length(left) * _length(right)


_WIDTH = re.compile(r"\d{1,4000}")  # of "%9d" and the like


def _length(value: Any) -> int:
    """The length of a text or list; for a number, how often it would repeat one."""
    return len(value) if isinstance(value, Sized) else int(value)


@cache
def environment() -> SandboxedEnvironment:
    """Jinja as in Airflow, with the filters that the operators add; undefined names are errors."""
    jinja = _Bounded(undefined=jinja2.StrictUndefined, extensions=["jinja2.ext.do"])
    jinja.filters.update(stand_ins.FILTERS, shell_quote=stand_ins.shell_quote, spark_lineage=stand_ins.spark_lineage)
    jinja.globals[_TICK] = _CLOCK.tick
    return jinja


class _Clock:
    """Limits the time of this thread, so that a busy machine does not count."""

    deadline = 0.0

    def start(self) -> None:
        """MAX_SECONDS from now on."""
        self.deadline = time.thread_time() + MAX_SECONDS

    def tick(self) -> None:
        """RenderError if they are over."""
        if time.thread_time() > self.deadline:
            raise RenderError(f"it takes longer than {MAX_SECONDS} s")


_CLOCK, _TICK = _Clock(), "_tick"


_NOTHING = Reads()
# One variable or param, and nothing else.
_ALONE = re.compile(r"\{\{ *(?:var\.value\.(?P<variable>(?!get\b)\w+)|params\.(?P<param>(?!get\b)\w+)) *\}\}", re.ASCII)


def reads(text: str) -> Reads:
    """What `text` reads, to be read only. Raises jinja2.TemplateSyntaxError (where_wrong says where)."""
    return _reads(text) if "{" in text else _NOTHING


@cache
def _reads(text: str) -> Reads:
    alone = _ALONE.fullmatch(text)
    return _of_one(alone) if alone else _of_any(text)


def _of_one(alone: re.Match[str]) -> Reads:
    """The usual form of templates, a hundred times as fast as by Jinja."""
    variables, params = ({alone[kind]: alone.start(kind)} if alone[kind] else {} for kind in ("variable", "param"))
    return Reads(variables=variables, params=params)


def _of_any(text: str) -> Reads:
    found = Reads()
    tree = _parsed(text)
    words = _words(text)
    found.unknown += _unknown_filters(tree, words)
    if found.unknown:
        return found  # Jinja itself goes no further
    for name in sorted(_undeclared(text, tree)):
        offset = words.get(name, 0)
        if name in GONE:
            message = f"{name!r} was removed in Airflow 3"
            found.unknown.append(UnreadableName(name, message, offset, [], f"read {GONE[name]}"))
        elif name not in CONTEXT:
            message = f"Airflow's templates have no {name!r}"
            fix = f"read {IMPORTED[name]}" if name in IMPORTED else ""
            found.unknown.append(UnreadableName(name, message, offset, sorted(CONTEXT), fix))
        elif name in UNCERTAIN:
            found.uncertain[name] = offset
    for chain in _chains(tree):
        _note(found, chain, words)
    for chain in _whole_chains(tree):
        if chain[0] == "conn":
            found.unknown += _not_to_be_read(chain, words)
    return found


def not_filled_in(text: str, params: Container[str]) -> Iterator[tuple[re.Match[str], str]]:
    """What looks like a value to be filled in and is not: `$NAME`, `${name}`, `{ params.name }`; each with its name."""
    for match in _NOT_FILLED_IN.finditer(text):
        name = match["shell"] or match["braced"]
        if match["braced"] or name.isupper() or name in params:
            yield match, name


_NOT_FILLED_IN = re.compile(
    r"\$\{?(?P<shell>[A-Za-z_]\w*)\b\}?|(?<!\{)\{\s*(?:params|var\.value)\.(?P<braced>\w+)\s*\}(?!\})"
)


def _undeclared(text: str, tree: nodes.Template) -> set[str]:
    """The names that a template reads and does not set itself, which only a block can."""
    if "{%" in text:
        return meta.find_undeclared_variables(tree)
    return {node.name for node in tree.find_all(nodes.Name)} - environment().globals.keys()


def _parsed(text: str) -> nodes.Template:
    """The tree of a template; raises jinja2.TemplateSyntaxError, also of one that is nested too deep for Jinja."""
    if len(text) > MAX_TEMPLATE:
        raise jinja2.TemplateSyntaxError(f"longer than {MAX_TEMPLATE:,} characters", 1)
    try:
        return environment().parse(text)
    except jinja2.TemplateSyntaxError:
        raise
    except (RecursionError, ValueError, OverflowError, MemoryError) as error:
        raise jinja2.TemplateSyntaxError(f"cannot be read: {error}", 1) from error


def _unknown_filters(tree: nodes.Template, words: dict[str, int]) -> Iterator[UnreadableName]:
    for kind, known, node_type in (
        ("filter", environment().filters, nodes.Filter),
        ("test", environment().tests, nodes.Test),
    ):
        for node in tree.find_all(node_type):
            if node.name not in known:
                yield UnreadableName(
                    node.name, f"there is no {kind} {node.name!r}", words.get(node.name, 0), list(known)
                )


def _note(found: Reads, chain: list[str], words: dict[str, int]) -> None:
    """Record what a chain such as var.value.X reads."""
    match chain:
        case ["var", "value" | "json" as form, name, *_]:
            found.variables.setdefault(name, words.get(name, 0))
            if form == "json":
                found.as_json.setdefault(name, words.get(name, 0))
        case ["conn", name, *_]:
            found.connections.setdefault(name, words.get(name, 0))
        case ["params", name, *_]:
            found.params.setdefault(name, words.get(name, 0))
        case [root, name, *_] if root in ATTRIBUTES and name not in ATTRIBUTES[root]:
            message = f"{root} has no {name!r}"
            found.unknown.append(UnreadableName(name, message, words.get(name, 0), sorted(ATTRIBUTES[root])))


def _not_to_be_read(chain: list[str], words: dict[str, int]) -> Iterator[UnreadableName]:
    """Why a template may not read this field of a connection: it is or contains a secret, or does not exist."""
    match chain[2:]:
        case [field, *_] if field in OPEN_FIELDS:
            return
        case ["extra_dejson", key, *_] if not _SECRET_EXTRA.search(key):
            return  # its region, say
        case [field, *_] if field not in CONNECTION:
            yield UnreadableName(field, f"a connection has no {field!r}", words.get(field, 0), sorted(OPEN_FIELDS))
        case _:
            message = f"{'.'.join(chain)} is a secret, which a rendered field, a log and a process list would show"
            fix = "declare the connection; the operator passes it on"
            yield UnreadableName(chain[-1], message, words.get(chain[-1], 0), [], fix)


def unquoted_params(text: str) -> Iterator[tuple[str, int]]:
    """Each param that a shell text contains unquoted, `{{ params.day }}`, and its place."""
    for name in sorted(_all_unquoted(text)) if "params" in text else ():
        expressions = [part for part in _PARTS.finditer(text) if name in part[0] and part[0].startswith("{{")]
        part = next((part for part in expressions if name in _all_unquoted(part[0])), None)
        yield name, part.start() + _words(part[0])[name] if part else 0


def _all_unquoted(text: str) -> set[str]:
    try:
        outputs = _parsed(text).find_all(nodes.Output)
    except jinja2.TemplateSyntaxError:
        return set()  # an expression within a raw block
    return {name for output in outputs for node in output.nodes for name in _unquoted(node)}


def _unquoted(node: nodes.Node | None) -> Iterator[str]:
    """The params whose text is in an expression's result."""
    match node:
        case nodes.Filter(name="shell_quote" | "length" | "int" | "float"):
            return
        case nodes.Filter(node=inner):
            yield from _unquoted(inner)
        case nodes.Concat(nodes=parts):
            for part in parts:
                yield from _unquoted(part)
        case nodes.CondExpr(expr1=one, expr2=other) | nodes.BinExpr(left=one, right=other):
            yield from _unquoted(one)
            yield from _unquoted(other)
        case nodes.Node():
            match _chain(node):
                case ["params", name]:
                    yield name


def _words(text: str) -> dict[str, int]:
    """The first place of each name and each quoted word in a template."""
    words: dict[str, int] = {}
    offset = 0
    for _, kind, value in environment().lex(text):
        if kind == "name":
            words.setdefault(value, offset)
        elif kind == "string":
            words.setdefault(value[1:-1], offset + 1)
        offset += len(value)
    return words


def what_is_invalid(text: str, error: jinja2.TemplateSyntaxError) -> tuple[int, str, str]:
    """Where a template is invalid, message and hint."""
    end = next((end for begin, end in (("{{", "}}"), ("{%", "%}")) if text.count(begin) > text.count(end)), "")
    hint = f"close it with {end}" if end else ""
    if str(error.message).startswith("Encountered unknown tag"):
        hint = "write {{ … }} for a value"
    return where_wrong(text, error), f"Jinja: {str(error.message).rstrip('.')}", hint


def where_wrong(text: str, error: jinja2.TemplateSyntaxError) -> int:
    """How many characters into `text` the invalid expression is: Jinja itself only counts lines."""
    for part in _PARTS.finditer(text[:MAX_TEMPLATE]):
        try:
            _parsed(part[0])
        except jinja2.TemplateSyntaxError as wrong:
            word = re.search(r"(?:got|unexpected|No \w+ named) '([^']+)'", str(wrong.message))
            found = text.find(word[1], part.start() + 2) if word else -1
            if _BLOCK.match(part[0]) and wrong.message != error.message:
                continue  # one half of a block is always wrong alone
            return found if 0 <= found < part.end() else part.start()
    return 0


_PARTS = re.compile(r"\{\{.*?(?:\}\}|$)|\{%.*?(?:%\}|$)", re.DOTALL)
_BLOCK = re.compile(r"\{%")


def names(text: str) -> set[str]:
    """The names of the context that a template reads; none if it is invalid."""
    try:
        return _undeclared(text, _parsed(text))
    except jinja2.TemplateError:
        return set()


def what_is_wrong(text: str, known: frozenset[str] = frozenset()) -> Iterator[tuple[int, str, str]]:
    """Each error of a template in which these names are known too: its offset, message and hint."""
    try:
        found = reads(text)
    except jinja2.TemplateSyntaxError as error:
        yield what_is_invalid(text, error)
        return
    for unknown in found.unknown:
        if unknown.name not in known:
            yield unknown.offset, f"Jinja: {unknown.message}", unknown.hint


def _chains(tree: nodes.Template) -> Iterator[list[str]]:
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Call)):
        names = _chain(node)
        if len(names) > 1 and names[-1] != "get":
            yield names


def _whole_chains(node: nodes.Node) -> Iterator[list[str]]:
    """Each chain that is not part of a longer one, single names included."""
    if names := _chain(node):
        yield names
    else:
        for child in node.iter_child_nodes():
            yield from _whole_chains(child)


def _chain(node: nodes.Node) -> list[str]:
    """`a.b["c"]` and `a.b.get("c")` as [a, b, c]; nothing for any other form."""
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


_ONE = re.compile(r"\{\{((?:[^{}#+-]|(?<=[^{])[+-](?!\}))+)\}\}")  # without a brace, and no sign beside those around it


def expression(text: str) -> str | None:
    """The contents of a text that is a single `{{ … }}`; None for any other text."""
    if alone := _ONE.fullmatch(text):
        return alone[1].strip()
    tokens = list(environment().lex(text))
    kinds = [kind for _, kind, _ in tokens]
    ends = kinds[:1] == ["variable_begin"] and kinds[-1] == "variable_end"
    return "".join(word for *_, word in tokens[1:-1]).strip() if ends and kinds.count("variable_end") == 1 else None


def value(text: str, variables: Mapping[str, str], params: Values, *, shown: bool = False) -> Any:
    """What `text` in a conf becomes in a run: the value of a single expression, or text.

    Raises what `render` raises.
    """
    one = _ALONE.fullmatch(text)
    if one and one["param"] in params:
        return params[one["param"]]
    with _as_render_errors():
        alone = expression(text)
        if alone is None:
            return render(text, variables, params, shown=shown)
        names = stand_ins.context(variables, params, shown=shown)
        found = _expression(alone)(names)
        return found if isinstance(found, str | int | float | list | dict | None) else str(found)


def render(text: str, variables: Mapping[str, str], params: Values, *, shown: bool = False) -> str:
    """`text` as a run would render it, with these variables and params; the run itself is a stand-in.

    Raises RunValueError if it contains what only a run knows, unless `shown` prints that by name; RenderError if it
    cannot be rendered, takes too long or becomes too large.
    """
    if alone := _ALONE.fullmatch(text):
        if alone["variable"] in variables:
            return variables[alone["variable"]]
        if alone["param"] in params:
            return str(params[alone["param"]])
    with _as_render_errors():
        return "".join(_bounded(_compiled(text).generate(stand_ins.context(variables, params, shown=shown))))


@contextmanager
def _as_render_errors() -> Iterator[None]:
    """Turn whatever a template raises into RenderError or RunValueError; it has MAX_SECONDS."""
    _CLOCK.start()
    try:
        yield
    except RenderError:
        raise
    except Exception as error:
        if RUN_VALUE in str(error):
            raise RunValueError(str(error)) from error
        raise RenderError(str(error) or type(error).__name__) from error


RUN_VALUE = stand_ins.RunValue.__name__  # in the words of Python's own functions, which take no such value


def _bounded(parts: Iterator[str]) -> Iterator[str]:
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_RENDERED:
            raise RenderError(f"it becomes longer than {MAX_RENDERED:,} characters")
        _CLOCK.tick()
        yield part


@cache
def _expression(text: str) -> TemplateExpression:
    return environment().compile_expression(text, undefined_to_none=False)


@cache
def _compiled(text: str) -> jinja2.Template:
    """A template whose loops end in time, even those without output."""
    tree = _parsed(text)
    for loop in tree.find_all(nodes.For):
        tick = nodes.ExprStmt(nodes.Call(nodes.Name(_TICK, "load"), [], [], None, None), lineno=loop.lineno)
        loop.body.insert(0, tick.set_environment(environment()))
    return environment().from_string(tree)
