"""The text on the DAG's page in Airflow."""

from __future__ import annotations

from pipeline_config.model import Pipeline


def markdown(pipeline: Pipeline) -> str:
    """Description, task order, variables and connections, and the YAML that declares it."""
    document = pipeline.place.document
    declared = {"variables": pipeline.variables, "connections": pipeline.connections}
    needs = [f"* {kind}: {', '.join(f'`{name}`' for name in names)}" for kind, names in declared.items() if names]
    parts = [pipeline.description, "", f"* flow: {flow(pipeline.upstream)}", *needs, ""]
    return "\n".join([*parts, f"Declared in `{document.file}`:", "```yaml", document.text, "```"])


def yaml_of(page: str | None) -> str:
    """The YAML on a page that `markdown` produced, "" on any other."""
    return (page or "").partition("```yaml\n")[2].rpartition("\n```")[0]


def flow(graph: dict[str, list[str]]) -> str:
    """The tasks in the order in which they can start, parallel ones in parentheses: `a → (b, c) → d`."""
    steps: list[list[str]] = []
    done: set[str] = set()
    while ready := [name for name in graph if name not in done and done.issuperset(graph[name])]:
        steps.append(ready)
        done.update(ready)
    return " → ".join(names[0] if len(names) == 1 else f"({', '.join(names)})" for names in steps)
