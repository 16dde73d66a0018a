"""The producer's image: what it is made of, and when it is built again."""

from __future__ import annotations

from pathlib import Path

from stack.producer_image import context_files, fingerprint


def test_the_image_is_made_of_the_producer_and_what_it_imports_only() -> None:
    names = {str(path) for path in context_files()}
    assert {"jobs/producer/requirements.lock", "jobs/event.py"} <= names
    assert not [name for name in names if "wheels" in name or "__pycache__" in name or "spark" in name]


def test_the_fingerprint_changes_with_a_name_and_with_a_content(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    first = fingerprint([Path("a")], tmp_path)
    assert fingerprint([Path("b")], tmp_path) != first
    (tmp_path / "a").write_text("2", encoding="utf-8")
    assert fingerprint([Path("a")], tmp_path) != first
