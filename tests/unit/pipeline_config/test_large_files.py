"""A file of any size is checked or refused in a few seconds, and never ends the process."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from pipeline_config.checks import check
from pipeline_config.checks.secrets import masked
from pipeline_config.problem import as_text
from pipeline_config.project import ROOT, load_project

FILE = "pipelines/mart/tripclick_load_postgres.yaml"
TEXT = (ROOT / FILE).read_text(encoding="utf-8")
VALUE = '"{{ var.value.S3_ANALYTICS_MART_PATH }}"'
SECONDS = 5  # of this process's own time
# A file's text, and what is said of it first; nothing of one that is right.
FILES = {
    "10 MB of nested YAML": ("x: " + "[" * 10_000_000, "is larger than 1,000,000 bytes"),
    "lists in lists": ("x: " + "[" * 499_000 + "]" * 499_000, "not YAML: deeper than 50 levels"),
    "lists in lists of one line": ("- " * 499_000 + "x", "not YAML: deeper than 50 levels"),
    "200,000 expressions in a value": (TEXT.replace(VALUE, f'"{"{{1}}" * 199_000}"'), "Jinja: longer than 10,000"),
    "an expression of 200,000 terms": (TEXT.replace(VALUE, f'"{{{{ {"1+" * 200_000}1 }}}}"'), "Jinja: longer than"),
    "an expression of 4,000 brackets": (
        TEXT.replace(VALUE, f'"{{{{ {"(" * 4000}1{")" * 4000} }}}}"'),
        "Jinja: cannot be read: maximum recursion depth exceeded",
    ),
    "different expressions": (
        TEXT.replace(VALUE, f'"{"".join(f"{{{{ a{number} }}}}" for number in range(50_000))}"'),
        "has more than 3,000 different Jinja expressions",
    ),
    "wrong options": (
        TEXT.replace(VALUE, VALUE + "".join(f"\n      a{number}: {number}" for number in range(20_000))),
        "more than 100 problems of one kind",
    ),
    "the same key again and again": (TEXT + "zz: 1\n" * 100_000, "key 'zz' is duplicated"),
    "a comment of 200,000 characters": (TEXT + f"# {'a.b+' * 50_000}\n", ""),
    "a comment that is all URLs": (TEXT + f"# {'https://a:' * 20_000}\n", ""),
}


@pytest.mark.parametrize("name", FILES)
def test_a_large_file_is_checked_or_refused_soon(tmp_path: Path, name: str) -> None:
    text, said = FILES[name]
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    started = time.process_time()
    problems = check(load_project(tmp_path))
    as_text(problems, tmp_path, masked)
    assert time.process_time() - started < SECONDS
    assert {problem.file for problem in problems} <= {FILE}
    assert problems[0].message.startswith(said) if said else problems == []
