"""Finds a Python class by its import path without importing it: an operator's module takes seconds."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pipeline_config.schema import did_you_mean

ROOT_CLASS = "BaseOperator"  # its own `**kwargs` are refused
# The YAML types for a value of a Python type.
TYPES = {
    **dict.fromkeys(("dict", "Dict", "Mapping", "MutableMapping"), "object"),
    **dict.fromkeys(("list", "List", "Sequence", "Collection", "Iterable", "set", "tuple"), "array"),
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "None": "null",
    "timedelta": "duration",
    "Callable": "code",
    "datetime": "",
    "ArgNotSet": "",
}
_NAMES = re.compile(r"^[ \t]*(?:class\s+(\w+)|from\s+[\w.]+\s+import\s+(?:\(([^)]*)\)|([^\n(]+)))", re.MULTILINE)


@cache
def what_is_wrong(path: str) -> tuple[str, str]:
    """Why a class cannot be imported by this path, and a hint; ("", "") if it can, or if this cannot be known here."""
    module, name = _split(path)
    file, missing = _source(module)
    if file is None:
        top = module.split(".")[0]
        if missing == top:
            return f"there is no Python package {top!r}", "is it installed, and spelled correctly?"
        if new := path.startswith(("airflow.operators.", "airflow.sensors.")) and in_standard(name):
            return f"there is no Python module {missing!r}", f"in Airflow 3 write {new}"
        return f"there is no Python module {missing!r}", did_you_mean(missing.rpartition(".")[2], _siblings(missing))
    text = file.read_text(encoding="utf-8", errors="replace")
    classes = [cls for cls, *_ in _NAMES.findall(text) if cls]
    imported = {word for _, *words in _NAMES.findall(text) for word in re.findall(r"\w+", " ".join(words))}
    if name in classes or name in imported or "def __getattr__" in text:
        return "", ""
    return f"{module} has no class {name!r}", did_you_mean(name, [cls for cls in classes if not cls.startswith("_")])


@cache
def in_standard(name: str) -> str:
    """The import path of an operator or sensor of Airflow's standard provider; "" if it is not there."""
    name = "EmptyOperator" if name == "DummyOperator" else name
    for kind in ("operators", "sensors"):
        package, _ = _source(f"{STANDARD}.{kind}")
        for file in sorted(package.parent.glob("*.py")) if package else ():
            if re.search(rf"^class {re.escape(name)}\b", file.read_text(encoding="utf-8"), re.MULTILINE):
                return f"{STANDARD}.{kind}.{file.stem}.{name}"
    return ""


STANDARD = "airflow.providers.standard"


@cache
def parameters(path: str) -> dict[str, frozenset[str]] | None:
    """The keyword arguments that a class accepts, its bases' included, each with the value types of its annotation.

    Types are JSON Schema's, and "duration" and "code", which are text in YAML; none: any. None when the
    source does not say which arguments there are.
    """
    found = _class(*_split(path), frozenset())
    if found is None:
        return None
    module, definition = found
    init = _init(definition)
    own = [*init.args.args[1:], *init.args.kwonlyargs] if init else []
    known: dict[str, frozenset[str]] = {}
    if init is None or (init.args.kwarg and definition.name != ROOT_CLASS):
        for base in definition.bases:
            inherited = parameters(f"{module}.{base.id}") if isinstance(base, ast.Name) else None
            if inherited is None:
                return None
            known |= inherited
    return {**known, **{argument.arg: _types(argument.annotation) for argument in own}}


def _types(annotation: ast.expr | None) -> frozenset[str]:
    names = list(_type_names(annotation))
    if not names or not TYPES.keys() >= set(names):
        return frozenset()
    return frozenset(TYPES[name] for name in names if TYPES[name])


def _type_names(node: ast.expr | None) -> Iterator[str]:
    """The members of a union; "" for what is not the name of a type."""
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _type_names(left)
            yield from _type_names(right)
        case ast.Subscript(value=value):
            yield from _type_names(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Constant(value=None):
            yield "None"
        case _:
            yield ""


@cache
def required(path: str) -> frozenset[str]:
    """The required keyword arguments of the class's own __init__, as far as its source shows them."""
    found = _class(*_split(path), frozenset())
    init = _init(found[1]) if found else None
    if init is None:
        return frozenset()
    positional = init.args.args[1 : len(init.args.args) - len(init.args.defaults)]
    named = [
        argument
        for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        if default is None
    ]
    return frozenset(argument.arg for argument in [*positional, *named])


@cache
def is_no_operator(path: str) -> bool:
    """Whether the class certainly does not derive from Airflow's BaseOperator: all of its bases are known."""
    found = _class(*_split(path), frozenset())
    if found is None:
        return False
    module, definition = found
    bases = [base.id for base in definition.bases if isinstance(base, ast.Name)]
    if definition.name == ROOT_CLASS or len(bases) < len(definition.bases):
        return False
    return all(is_no_operator(f"{module}.{base}") for base in bases)


def what_is_wrong_with_code(path: str) -> tuple[str, str]:
    """Why no function can be imported by this path, and a hint; ("", "") if one can, or if nobody can know here."""
    module, name = _split(path)
    text = _text(module) if module and has_module(module) else None
    if text is None:
        known = module.split(".")[0] in sys.stdlib_module_names
        return ("", "") if known else (f"there is no Python module {module!r}", WHERE_CODE_LIES)
    if re.search(rf"\b{re.escape(name)}\b", text) or _ANY_NAME.search(text):
        return "", ""
    return f"{module} has no function {name!r}", did_you_mean(name, _FUNCTION.findall(text))


WHERE_CODE_LIES = "put it where Python finds its modules, such as Airflow's plugins folder"
_FUNCTION = re.compile(r"^(?:async )?def ([a-zA-Z]\w*)", re.MULTILINE)
_ANY_NAME = re.compile(r"\b__getattr__\b|\bimport \*|\bglobals\(\)")


def is_import_path(text: str) -> bool:
    """Whether a text has the form of one: `module.name`."""
    return "." in text and all(part.isidentifier() for part in text.split("."))


def has_module(module: str) -> bool:
    """Whether there is a module of that name."""
    return all(part.isidentifier() for part in module.split(".")) and _source(module)[0] is not None


def is_folder(module: str) -> bool:
    """Whether the module is a package without a program of its own; nothing is imported."""
    file = _source(module)[0]
    if file is None or file.name != "__init__.py" or (file.parent / "__main__.py").is_file():
        return False
    return not _PARSER.search(file.read_text(encoding="utf-8", errors="replace"))


_PARSER = re.compile(r"^(?:def |from .*\b|import .*\b)?parser\b", re.MULTILINE)


def _init(definition: ast.ClassDef) -> ast.FunctionDef | None:
    own = (node for node in definition.body if isinstance(node, ast.FunctionDef))
    return next((node for node in own if node.name == "__init__"), None)


def _split(path: str) -> tuple[str, str]:
    module, _, name = path.rpartition(".")
    return module, name


@cache
def _class(module: str, name: str, seen: frozenset[str]) -> tuple[str, ast.ClassDef] | None:
    """A class with only its bases and its __init__, and its module; through any number of imports."""
    text = _text(module) if module not in seen else ""
    at = max(f"\n{text}".find(f"\nclass {name}{after}") for after in "(:")
    if at >= 0:
        end = _TOP.search(text, at + 1)
        return module, _outline(text[at : end.start() if end else None])
    for match in _IMPORT.finditer(text):
        for original, alias in _ALIAS.findall(_COMMENT.sub("", match["many"] or match["one"])):
            found = _class(match["module"], original, seen | {module}) if (alias or original) == name else None
            if found:
                return found
    return None


_TOP = re.compile(r"^[A-Za-z@#\"']", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*from (?P<module>\w[\w.]*) import (?:\((?P<many>[^)]*)\)|(?P<one>[^\n(]+))", re.MULTILINE)
_ALIAS = re.compile(r"(\w+)(?:[ ]as[ ](\w+))?")
_COMMENT = re.compile(r"#.*")


def _outline(text: str) -> ast.ClassDef:
    """The tree of a class's header and its __init__'s: parsing the whole module takes a thousand times as long."""
    header = re.match(r"class \w+(?:\(.*?\))?:", text, re.DOTALL)
    init = re.search(r"^    def __init__\(.*?\)(?: *-> *[^\n:]+)?:(?=[ \t]*(?:#.*)?$)", text, re.DOTALL | re.MULTILINE)
    tree = ast.parse(f"{header[0] if header else ''}\n    ...\n{f'{init[0]} ...' if init else ''}")
    return next(node for node in tree.body if isinstance(node, ast.ClassDef))


@cache
def _text(module: str) -> str:
    file, _ = _source(module)
    return file.read_text(encoding="utf-8") if file else ""


def _source(module: str) -> tuple[Path | None, str]:
    """The file of a module; without one, None and the first part of its path that does not exist."""
    folders = [*map(Path, sys.path)]
    parts = module.split(".")
    for number, part in enumerate(parts):
        here = [folder / part for folder in folders]
        file = next((path.with_suffix(".py") for path in here if path.with_suffix(".py").is_file()), None)
        folders = [path for path in here if path.is_dir()]
        if number == len(parts) - 1:
            file = file or next((path / "__init__.py" for path in folders if (path / "__init__.py").is_file()), None)
            return file, module
        if not folders:
            return None, ".".join(parts[: number + 1])
    return None, module


def _siblings(module: str) -> list[str]:
    """The modules beside one that does not exist."""
    parent = module.rpartition(".")[0]
    file, _ = _source(parent)
    if file is None or file.name != "__init__.py":
        return []
    return sorted(path.stem for path in file.parent.iterdir() if path.suffix in ("", ".py") and path.stem[0] != "_")
