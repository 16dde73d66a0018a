"""What the DAG's page in Airflow says of it."""

from __future__ import annotations

from pipeline_config.reader import Document


def markdown(document: Document) -> str:
    """Description, variables and connections that it needs, and the YAML that declares it."""
    data = document.data
    needs = [
        f"* {kind}: {', '.join(f'`{name}`' for name in data[kind])}"
        for kind in ("variables", "connections")
        if data.get(kind)
    ]
    return "\n".join(
        [data["description"], "", *needs, "", f"Declared in `{document.file}`:", "```yaml", document.text, "```"]
    )
