"""The project as files: catalog, defaults, environments and one document per pipeline."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from errno import ENOENT
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from pipeline_config.errors import CommandError, UnknownEnvironmentError
from pipeline_config.guard import guarded
from pipeline_config.model import Catalog, Defaults, Environment, Pipeline, Place, Value, Values
from pipeline_config.problem import Problem, printable
from pipeline_config.reader import Content, Document, content_of, parse
from pipeline_config.schema import check_schema, did_you_mean

ROOT = Path(__file__).parent.parent  # where this package is: in a checkout, the project
SHARED_FILES = {"catalog.yaml", "defaults.yaml"}
SUFFIX = ".yaml"
ALSO_MEANT = (".yaml", ".yml")  # in any case: YAML by other names, reported since it is not read
PLACEHOLDER = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^{}]*))?\}")


@dataclass(frozen=True)
class Project:
    """Every YAML file below pipelines/, read and validated against its schema, and the contents of the valid ones."""

    root: Path
    catalog_file: Document
    defaults_file: Document
    environment_files: dict[str, Document]
    pipeline_files: list[Document]

    @property
    def shared(self) -> list[Document]:
        """The files that every pipeline needs."""
        return [self.catalog_file, self.defaults_file, *self.environment_files.values()]

    @property
    def files(self) -> list[Document]:
        """The shared files and the pipelines'."""
        return [*self.shared, *self.pipeline_files]

    @property
    def problems(self) -> list[Problem]:
        """What reading and the schemas found, in all files."""
        return [problem for document in self.files for problem in document.problems]

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog, whose file is valid."""
        return Catalog.of(Place(self.catalog_file), self.catalog_file.data)

    @cached_property
    def defaults(self) -> Defaults:
        """The defaults, whose file is valid."""
        return Defaults.of(Place(self.defaults_file), self.defaults_file.data)

    @cached_property
    def pipelines(self) -> list[Pipeline]:
        """The pipelines whose files are valid."""
        return [Pipeline.of(Place(file), file.data) for file in self.pipeline_files if not file.problems]

    @cached_property
    def environments(self) -> dict[str, Environment]:
        """The usable environments, as in their own files: those are valid, and what they extend."""
        files = {name: file for name, file in self.environment_files.items() if self._is_whole(name)}
        return {name: Environment.of(Place(file), file.data) for name, file in files.items()}

    def pipeline(self, dag_id: str) -> Pipeline:
        """The pipeline of that DAG; raises CommandError."""
        known = {pipeline.dag_id: pipeline for pipeline in self.pipelines}
        if dag_id not in known:
            raise CommandError(f"no DAG is called {dag_id!r}; {did_you_mean(dag_id, sorted(known))}")
        return known[dag_id]

    def chain(self, name: str) -> list[Document]:
        """The environment of that name, what it extends, and so on; raises UnknownEnvironmentError, CommandError."""
        found: list[Document] = []
        parent: str | None = name
        while parent:
            if parent not in self.environment_files:
                known = ", ".join(sorted(self.environment_files)) or "none"
                raise UnknownEnvironmentError(f"no pipelines/environments/{parent}.yaml; there is: {known}")
            document = self.environment_files[parent]
            if document in found:
                raise CommandError(f"{document.file} extends itself")
            found.append(document)
            parent = None if document.problems else document.data.get("extends")
        return found

    def environment(self, name: str) -> Environment:
        """The environment of that name with what it extends merged in; raises UnknownEnvironmentError, CommandError."""
        return Environment.of(Place(self.chain(name)[0]), self.merged(name))

    def merged(self, name: str) -> Values:
        """What its file says, over the files that it extends; raises UnknownEnvironmentError, CommandError."""
        return reduce(merge, (document.data or {} for document in reversed(self.chain(name))))

    def _is_whole(self, name: str) -> bool:
        try:
            return not any(document.problems for document in self.chain(name))
        except CommandError:
            return False


def active_environment() -> str:
    """The environment that Airflow, and every command without --environment, uses."""
    return os.environ.get("PIPELINE_ENVIRONMENT") or "production"


def root_of(place: Path) -> Path:
    """The nearest folder with pipelines/: `place`, or one around it; `place` itself if there is none."""
    place = place.resolve()
    return next((folder for folder in (place, *place.parents) if (folder / "pipelines").is_dir()), place)


def importable(root: Path) -> None:
    """Let Python find the project's own modules, such as its jobs, before others of the same name."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def contents_of(root: Path) -> dict[str, Content]:
    """The files below `root`/pipelines that are, or should be, YAML: by path below `root`, in order.

    Hidden files are left out: editors' locks, macOS's `._` files, Kubernetes' `..data`, `.ipynb_checkpoints`. Links to
    folders are followed, to each folder once; a folder that cannot be read is in it too.
    """
    found: dict[str, Content] = {}
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        path = Path(os.fsdecode(error.filename))
        if path != root / "pipelines":  # without it no file is there, which each of them says
            found[printable(path.relative_to(root).as_posix())] = error

    for folder, folders, files in os.walk(root / "pipelines", onerror=unreadable, followlinks=True):
        if (place := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*files, *folders):
            path = Path(folder, name)
            if path.suffix.lower() in ALSO_MEANT and not name.startswith("."):
                content = content_of(path)
                if not isinstance(content, FileNotFoundError) or path.is_symlink():  # else: gone since it was listed
                    found[printable(path.relative_to(root).as_posix())] = content
    return dict(sorted(found.items()))


def load_project(
    root: Path = ROOT,
    *,
    with_schema: bool = True,
    contents: Mapping[str, Content] | None = None,
    known: Mapping[str, Document] | None = None,
) -> Project:
    """Read every file below `root`/pipelines; nothing raises, each document carries its problems.

    `contents` are those of `contents_of`. `known` are documents as they were read before: they are not parsed then.
    """
    files = contents_of(root) if contents is None else contents

    def document(file: str, schema: str) -> Document:
        if known is not None and file in known:
            return known[file]
        result = Document(file)
        content = files.get(file, FileNotFoundError(ENOENT, os.strerror(ENOENT)))
        if not file.endswith(SUFFIX) and not isinstance(content, OSError):
            hint = f"rename it to {Path(file).with_suffix(SUFFIX).name}"
            result.problems.append(result.problem((), "is not read: its name does not end in .yaml", hint))
            return result
        result.problems += guarded(result, lambda: _read(result, content))
        if with_schema:
            result.problems += guarded(result, lambda: check_schema(result, schema))
        return result

    shared = [f"pipelines/{name}" for name in sorted(SHARED_FILES)]
    environments = [file for file in files if Path(file).match(f"pipelines/environments/*{SUFFIX}")]
    return Project(
        root=root,
        catalog_file=document(shared[0], "catalog"),
        defaults_file=document(shared[1], "defaults"),
        environment_files={Path(file).stem: document(file, "environment") for file in environments},
        pipeline_files=[document(file, "pipeline") for file in files if file not in {*shared, *environments}],
    )


def _read(document: Document, content: Content) -> Iterable[Problem]:
    parse(document, content)  # records the problems itself
    return ()


def merge(base: Values, change: Values) -> dict[str, Value]:
    """`change` over `base`, mappings key by key."""
    merged = dict(base)
    for key, value in change.items():
        known = merged.get(key)
        merged[key] = merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def expand(value: Any) -> Any:
    """`${NAME:-default}` in every text of `value`, from this process's environment."""
    if isinstance(value, dict):
        return {key: expand(item) for key, item in value.items()}
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: os.environ.get(match[1], match[2] or ""), value)
    return value


def unset(text: str) -> set[str]:
    """The ${NAME} of a text with neither a value nor a default here: its result is unknown here."""
    return {match[1] for match in PLACEHOLDER.finditer(text) if match[2] is None and match[1] not in os.environ}
