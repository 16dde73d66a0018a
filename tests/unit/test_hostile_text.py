"""200 hostile texts in every variable and param of the commands, and in the text fields of the log: they stay text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobs.contract import MAX_TEXT, Click, check
from pipeline_config.compiler import compile_pipeline
from pipeline_config.model import Pipeline
from pipeline_config.project import load_project
from pipeline_config.templates import render
from tests import reference
from tests.contract_lines import KAFKA_MS, line
from tests.hostile import many

TEXTS = many(200)
PROJECT = load_project()
# In the place of Spark's: shows the folder and its words.
SPARK_SUBMIT = "#!/bin/sh\nprintf '%s\\0' \"$@\"\n"
CHANGE_FOLDER = "cd() { printf '%s\\0' \"$1\"; }\n"


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """An environment whose spark-submit shows the words that it is given."""
    program = tmp_path / "spark-submit"
    program.write_text(SPARK_SUBMIT, encoding="ascii")
    program.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.parametrize("pipeline", PROJECT.pipelines, ids=lambda one: one.dag_id)
def test_hostile_text_in_variables_and_params_stays_one_word_of_a_command(
    pipeline: Pipeline, programs: dict[str, str]
) -> None:
    compiled = compile_pipeline(PROJECT, pipeline, PROJECT.environment("production"))[pipeline.dag_id]["tasks"]
    for task in pipeline.tasks:
        if not task.job:
            continue
        command = compiled[task.task_id]["command"]
        for text in TEXTS:
            variables = dict.fromkeys(PROJECT.catalog.variables, text)
            params = dict.fromkeys(pipeline.params, text)
            wanted = [f"--{name}={render(str(value), variables, params)}" for name, value in task.arguments.items()]
            assert f"={text}" in "".join(wanted)
            if isinstance(command, list):
                assert [render(word, variables, params) for word in command] == [task.job, *wanted]
            else:
                script = CHANGE_FOLDER + render(command, variables, params)
                shown = subprocess.run(["sh"], input=script.encode(), env=programs, capture_output=True, check=True)
                folder, *words = shown.stdout.decode().split("\0")[:-1]
                assert folder == text
                assert words[-len(wanted) :] == wanted


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_text_in_the_logs_fields_is_kept_or_quarantined(text: str) -> None:
    raw = line(Title=text, Url=text, DOI=text, Keywords=text, ClinicalAreas=text)
    click = check(raw, b"0", KAFKA_MS)
    if len(text) > MAX_TEXT:
        assert click == "long_url"
        return
    assert isinstance(click, Click)
    words = reference._text(text) or None
    assert (click.title, click.url, click.doi) == (words, words, words)
    assert (click.query or "") == reference._words(text).lower()
    assert (list(click.clinical_areas) or ["Unknown"]) == reference._areas(reference._words(text))
