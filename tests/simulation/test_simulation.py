"""The protocols of the jobs in simulated worlds, each by a seed: no promise is broken, and planted faults are found."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.faults.conftest import IN_FULL, SEED
from tests.simulation import harness
from tests.simulation.planted import PLANTED, Plant

STORIES = 25_000  # of each kind, in full: 100,000
SHORT = 150
PART = 500  # of a process at once
LIMIT = 10_000  # stories in which a planted fault is found
EACH = [(kind, plant) for kind, plants in PLANTED.items() for plant in plants]


@pytest.mark.parametrize("kind", harness.KINDS)
def test_no_promise_is_broken(kind: str) -> None:
    broken = harness.told(kind, range(SHORT))
    assert not broken, broken


@pytest.mark.parametrize("kind", harness.KINDS)
def test_seed_tells_the_same_story_again(kind: str) -> None:
    with harness.installed():
        assert harness.story(kind, 1) == harness.story(kind, 1)


def test_broken_promise_is_told_with_all_that_led_to_it() -> None:
    with harness.installed() as patch:
        PLANTED["swap"][0](patch)
        found = harness.first_broken("swap", range(LIMIT))
        assert found
        told = harness.story("swap", found[0])
    assert any("BROKEN: " in line for line in told[-4:])
    assert any(" load " in line and "COPY session_analysis" in line for line in told)


@pytest.mark.faults
@IN_FULL
def test_no_promise_is_broken_in_a_hundred_thousand_stories() -> None:
    first = SEED * 1_000_000
    parts = [
        (kind, range(begin, begin + PART)) for begin in range(first, first + STORIES, PART) for kind in harness.KINDS
    ]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), harness.prepare) as processes:
        broken = list(filter(None, processes.map(harness.told, *zip(*parts, strict=True))))
    assert not broken, "\n\n".join(broken)


@pytest.mark.faults
@IN_FULL
@pytest.mark.parametrize(("kind", "plant"), EACH, ids=[plant.__name__ for _, plant in EACH])
def test_planted_fault_is_found(kind: str, plant: Plant) -> None:
    with harness.installed() as patch:
        plant(patch)
        assert harness.first_broken(kind, range(LIMIT)), f"not in {LIMIT:,} stories"


def test_there_are_twenty_planted_faults() -> None:
    assert len(EACH) >= 20
