"""What jobs and whoever runs them agree on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from jobs import cli, errors
from pipeline_config import job_contract
from pipeline_config.job_contract import Data, Flow, flow_of
from pipeline_config.parsers import job_parser


def test_jobs_and_operators_agree() -> None:
    assert errors.USAGE == job_contract.USAGE
    assert errors.NON_RETRYABLE == job_contract.NON_RETRYABLE
    assert cli.ENDS_WITH_STDIN == job_contract.ENDS_WITH_STDIN


def test_a_flow_is_plain_data_that_any_parser_can_carry() -> None:
    parser = argparse.ArgumentParser()
    assert flow_of(parser) == Flow()
    parser.add_argument("--path")
    parser.add_argument("--out")
    parser.set_defaults(flow={"reads": [["log", "{path}"]], "writes": [("lake", "{out}/a"), ("asset", "s3://a")]})
    assert flow_of(parser) == Flow((Data("log", "{path}"),), (Data("lake", "{out}/a"), Data("asset", "s3://a")))


@pytest.mark.parametrize(
    ("flow", "says"),
    [
        (["lake"], "must be a mapping of reads and writes"),
        ({"read": []}, "must be a mapping of reads and writes"),
        ({"reads": [("tabel", "a")]}, "reads: ('tabel', 'a') is not a pair of a kind (log, topic,"),
        ({"writes": ["lake"]}, "writes: 'lake' is not a pair"),
        ({"reads": [("lake", "{mart_path}/a")]}, "reads: '{mart_path}/a' names the option 'mart_path', which the job"),
    ],
)
def test_what_cannot_be_read_of_it_is_reported_of_the_job(
    flow: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"odd_job_{abs(hash(says + repr(flow)))}"
    text = f"import argparse\ndef parser():\n    p = argparse.ArgumentParser()\n    p.set_defaults(flow={flow!r})\n"
    (tmp_path / f"{name}.py").write_text(f"{text}    return p\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = job_parser(name)
    assert isinstance(found, str)
    assert found.startswith(f"{name} cannot return its options: ")
    assert f"flow: {says}" in found
