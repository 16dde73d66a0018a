"""What a file says, typed, and where each thing is."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline_config.model import DagSettings, Pipeline, Place
from pipeline_config.reader import Document, parse

TEXT = """\
dag_id: small
description: two tasks in nested groups
schedule: null
email: an older dialect's key
task_groups:
  outer: {dependencies: [first]}
  inner: {group: outer}
tasks:
  - task_id: first
    operator: EmptyOperator
  - task_id: second
    operator: EmptyOperator
    group: inner
    outlets: []
  - {task_id: third, operator: EmptyOperator, dependencies: [outer]}
"""


@pytest.fixture
def pipeline() -> Pipeline:
    document = parse(Document("small.yaml"), TEXT.encode())
    return Pipeline.of(Place(document), document.data)


def test_each_thing_knows_its_place(pipeline: Pipeline) -> None:
    first, second, _ = pipeline.tasks
    found = [
        first.place.problem("a"),
        second.at("group").problem("b"),
        second.at("group").warning("c"),
        pipeline.task_groups["inner"].place.problem("d", at_key=True),
        pipeline.at("schedule", "cron").problem("e"),
    ]
    assert list(map(str, found)) == [
        "small.yaml:9:5: a",
        "small.yaml:13:12: b",
        "small.yaml:13:12: warning: c",
        "small.yaml:7:3: d",
        "small.yaml:3:11: e",
    ], "the last one is the nearest place that there is"
    assert [problem.path for problem in found][:2] == ["tasks[0]", "tasks[1].group"]


def test_what_is_remembered_of_a_file_has_the_same_places(pipeline: Pipeline) -> None:
    read = pipeline.place.document
    remembered = Document(read.file, read.text, read.data, packed=read.pack())
    assert remembered.places == read.places
    assert remembered.pack() == read.pack()


def test_nothing_can_be_changed_but_in_a_copy(pipeline: Pipeline) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        pipeline.tasks[0].pool = "other"  # type: ignore[misc]
    assert dataclasses.replace(pipeline.tasks[0], pool="other").place is pipeline.tasks[0].place


def test_given_has_only_the_keys_of_the_file(pipeline: Pipeline) -> None:
    assert pipeline.tasks[1].given(("outlets", "pool")) == {"outlets": []}
    assert pipeline.given(DagSettings.keys()) == {}


def test_groups_are_unfolded(pipeline: Pipeline) -> None:
    assert pipeline.full_id(pipeline.tasks[1]) == "outer.inner.second"
    assert pipeline.upstream == {"first": [], "second": ["first"], "third": ["second"]}
