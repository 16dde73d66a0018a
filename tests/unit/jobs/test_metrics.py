"""What Prometheus is told: the lake's files without Spark, the text format, and rules that ask for what there is."""

from __future__ import annotations

import json
import os
import re
import threading
import urllib.error
from functools import partial
from http.server import HTTPServer
from pathlib import Path

import pytest
import yaml

from jobs.metrics.__main__ import Handler
from jobs.metrics.kafka import OVERDUE_HOURS, Ends
from jobs.metrics.lake import Lake, Paths
from jobs.metrics.sample import METRICS, sample, text
from jobs.spark.streaming_curated import MIN_BAD_RECORDS
from jobs.spark.streaming_curated import parser as curated_parser
from pipeline_config.project import load_project
from stack.server import open_directly
from stack.settings import REPOSITORY

MONITORING = REPOSITORY / "monitoring"
NEWEST, BEFORE = 1_700_000_060, 1_700_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A lake after two complete batches, a third that is only planned, and an upkeep of the table."""
    stream = tmp_path / "checkpoint/streaming_curated"
    for batch, when in ((9, BEFORE), (10, NEWEST - 7.5), (11, NEWEST)):
        write(stream / f"offsets/{batch}", f'v1\n{{}}\n{{"t": {{"0": {batch}, "1": 5}}}}', when)
    for batch, when in ((9, BEFORE), (10, NEWEST)):
        write(stream / f"commits/{batch}", "v1\n{}", when)
        write(stream / f"commits/.{batch}.crc", "", when)
    clicks = tmp_path / "curated/clicks"
    for version, changes in enumerate((True, False, True)):
        commit = {"commitInfo": {"timestamp": (BEFORE + version) * 1000}}
        lines = map(json.dumps, (commit, {"add": {"path": "a", "dataChange": changes}}))
        write(clicks / f"_delta_log/{version:020}.json", "\n".join(lines))
    for batch, (read, bad) in enumerate(((100, 1), (50, 2))):
        write(clicks / f"_tally/s-{batch}", json.dumps({"read": read, "bad": bad, "example": ""}))
    write(clicks / "_tally/.draft", "{")
    for number, released in ((8, False), (9, True)):
        write(clicks / f"_writer/{number:012}", json.dumps({"holder": "curated r1", "released": released}))
    write(tmp_path / "mart/_writer/000000000010", json.dumps({"holder": "etl r2", "renewed": 17.0}))
    return tmp_path


def write(file: Path, content: str, when: float = BEFORE) -> None:
    """A file, as old as that."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    os.utime(file, (when, when))


def lake(root: Path) -> Lake:
    """The lake below this root, a topic t."""
    folders = [str(root / name) for name in ("curated", "archive", "mart", "checkpoint")]
    return Lake(Paths(*folders), "t")


def told(root: Path, ends: dict[str, Ends], hot_version: int | None = None) -> list[str]:
    """The lines of values."""
    return [line for line in text(lake(root).ask(ends, hot_version)).splitlines() if not line.startswith("#")]


def test_a_batch_that_is_only_planned_is_not_read(root: Path) -> None:
    ends = {"0": Ends(12, 11), "1": Ends(4, 4), "2": Ends(3, 0)}  # asked before the batch ended
    found = told(root, ends)
    assert [line for line in found if "lag" in line] == [
        'tripclick_stream_lag_records{stream="streaming_curated",partition="0"} 2',
        'tripclick_stream_lag_records{stream="streaming_curated",partition="1"} 0',
        'tripclick_stream_lag_records{stream="streaming_curated",partition="2"} 3',
    ]
    overdue = [line.rpartition(" ")[2] for line in found if "overdue" in line]
    assert overdue == ["1", "0", "0"]
    assert 'tripclick_stream_read_offset{stream="streaming_curated",partition="0"} 10' in found
    assert 'tripclick_stream_batch_seconds{stream="streaming_curated"} 7.5' in found
    assert f'tripclick_stream_batch_end_timestamp_seconds{{stream="streaming_curated"}} {NEWEST}' in found


def test_counts_of_the_tally_and_who_holds_a_lease(root: Path) -> None:
    found = told(root, {})
    assert {"tripclick_records_read 150", "tripclick_records_quarantined 3"} <= set(found)
    held = 'tripclick_lease_renewed_timestamp_seconds{place="analytics_mart",holder="etl r2"} 17'
    assert [line for line in found if "lease" in line] == [held]


def test_clicks_wait_for_the_hot_tables_and_compacted_files_do_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: BEFORE + 102.0)
    waiting = [told(root, {}, version)[-1] for version in (0, 1, 2)]
    assert waiting == [f"tripclick_hot_behind_seconds {seconds}" for seconds in (100, 100, 0)]
    assert not [line for line in told(root, {}) if "hot" in line], "nobody has ever used them"


def test_a_lake_that_is_not_there_yet_has_no_metric_of_a_stream(tmp_path: Path) -> None:
    assert told(tmp_path, {"0": Ends(1, 1)}) == ["tripclick_records_read 0", "tripclick_records_quarantined 0"]


def test_the_text_keeps_a_metrics_samples_together_and_escapes_labels() -> None:
    name, other = "tripclick_replicas_short", "tripclick_missing_days"
    samples = [sample(name, 1, topic='a"\\\n'), sample(other, 1_700_000_000.25), sample(name, 2, topic="b")]
    assert text(samples) == (
        f"# HELP {name} {METRICS[name]}\n# TYPE {name} gauge\n"
        f'{name}{{topic="a\\"\\\\\\n"}} 1\n{name}{{topic="b"}} 2\n'
        f"# HELP {other} {METRICS[other]}\n# TYPE {other} gauge\n{other} 1700000000.25\n"
    )


def test_answers_a_get_of_metrics_alone() -> None:
    with HTTPServer(("127.0.0.1", 0), partial(Handler, lambda: "tripclick_missing_days 0\n")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with open_directly(f"{url}/metrics", timeout=20) as answer:
                assert answer.read() == b"tripclick_missing_days 0\n"
            with pytest.raises(urllib.error.HTTPError, match="404"):
                open_directly(url, timeout=20)
        finally:
            server.shutdown()


def test_each_rule_asks_for_metrics_that_there_are() -> None:
    rules = (MONITORING / "rules.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\btripclick_[a-z_]+(?=[\s{)])", re.sub(r"(?m)^\s*(action|summary):.*", "", rules)))
    assert asked <= METRICS.keys()
    assert len(asked) > 7


def test_the_rules_limits_are_the_projects() -> None:
    text = (MONITORING / "rules.yml").read_text(encoding="utf-8")
    rules = {rule["alert"]: rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]}
    schedules = {each.dag_id: str(each.schedule) for each in load_project().pipelines}
    for alert, dag_id in {"DailyRunLate": "daily_pipeline", "SearchRunLate": "search_quality"}.items():
        minute, hour, *_ = schedules[f"tripclick_{dag_id}"].split()
        assert minute == "0"
        assert rules[alert].endswith(f"+ {hour} * 3600")
    for where in (text, METRICS["tripclick_stream_overdue_records"]):
        assert f"more than {OVERDUE_HOURS} hours" in where
    assert f"quarantined >= {MIN_BAD_RECORDS} and" in rules["ManyQuarantined"]
    assert rules["ManyQuarantined"].endswith(f"> {curated_parser().get_default('max_bad_share')}")
