"""The one reader of YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_config.reader import read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("True", "True"),
        ("true", True),
        ("2020-10-01", "2020-10-01"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("12", 12),
        ("1.5", 1.5),
        ("~", None),
        ("", None),
    ],
)
def test_reader_has_one_meaning_for_each_scalar(text: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"key: {text}\n")
    document = read(path, tmp_path)
    assert document.problems == []
    assert document.data == {"key": value}


def test_aliases_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = tmp_path / "file.yaml"
    path.write_text("\n".join(lines))
    assert "does an alias expand without end?" in read(path, tmp_path).problems[0].message
