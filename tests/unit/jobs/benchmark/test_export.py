"""The benchmark from a log: the files of the published method, which the field's readers take."""

from __future__ import annotations

import datetime as dt
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.benchmark import __main__ as benchmark
from jobs.benchmark.entries import Log, query_of
from jobs.benchmark.published import FIGURES
from jobs.benchmark.sampling import choose, generator
from jobs.errors import BrokenFileError, NonRetryableError
from jobs.generator.__main__ import write_day
from jobs.producer.log_files import files_of
from pipeline_config.project import ROOT
from tests.reference_benchmark import files

HELD_OUT = 1


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 days with defects at 0.06 of the scale; the pages of the first two are not known."""
    folder = tmp_path_factory.mktemp("log")
    for number in range(120):
        write_day(folder, dt.date(2019, 1, 1) + dt.timedelta(days=number), 0.06, 1, dirty=True)
    for path in sorted(folder.glob("*.json"))[:2]:
        lines = (line.split(b',"Documents":')[0] for line in path.read_bytes().splitlines())
        path.write_bytes(b"".join(line + b',"Documents":[]}\n' for line in lines))
    return folder


def run(log: Path, out: Path, *options: str) -> None:
    """Run the command on these folders."""
    words = [f"--ingestion-path={log}", f"--out={out}", f"--held-out={HELD_OUT}", *options]
    benchmark.run(benchmark.parser().parse_args(words))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A log of one day with three queries of each group."""
    folder = tmp_path / "small"
    folder.mkdir()
    page = {"Documents": [2, 1], "DocumentId": 1, "Title": "t", "Url": "u"}
    rows = [
        {**page, "Keywords": f"{group} query{number}"}
        for group, entries in (("head", 45), ("torso", 6), ("tail", 5))
        for number in range(3)
        for _ in range(entries)
    ]
    (folder / "2019-01-01.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def made(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benchmark of these days."""
    out = tmp_path_factory.mktemp("out") / "benchmark"
    run(log, out)
    return out


def texts(folder: Path) -> dict[str, str]:
    """The files but the manifest."""
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.t*")}
    assert len(found) + 1 == sum(path.is_file() for path in folder.rglob("*"))
    return found


def test_the_files_are_those_of_the_published_steps(log: Path, made: Path) -> None:
    found = texts(made)
    assert found == files(log, HELD_OUT)
    assert len(found["qrels/qrels.dctr.torso.train.txt"].splitlines()) > 500
    assert list(made.parent.iterdir()) == [made]
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_documents_of_a_list_are_the_only_ones(log: Path, made: Path, tmp_path: Path) -> None:
    lines = (made / "docs.tsv").read_text().splitlines()[::2]
    listed = tmp_path / "allarticles.txt"
    spoilt = ["id\ttitle\turl", "7\tof a document that the log has not\thttp://x", "of a title\thttp://x", "1\tnone\t"]
    listed.write_text("\n".join([*spoilt, *lines, "(3 rows affected)"]))
    run(log, tmp_path / "out", f"--documents={listed}")
    known = {int(number): (title, url) for number, title, url in (line.split("\t") for line in lines)}
    assert texts(tmp_path / "out") == files(log, HELD_OUT, known)


def test_the_readers_of_the_field_take_every_file(made: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmark_readers", str(made)]
    read = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    found = {Path(name).name: text.splitlines() for name, text in texts(made).items()}
    assert read.keys() == found.keys()
    for name, lines in found.items():
        if name.startswith("qrels"):
            assert [[query, "0", document, str(grade)] for query, document, grade in read[name]] == [
                line.split(" ") for line in lines
            ]
        elif name.endswith(".tsv"):
            assert read[name] == [line.split("\t") for line in lines]
            assert name == "docs.tsv" or read[name.replace(".tsv", ".txt")] == read[name]


def test_figures_are_counts_of_the_files(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    figures = manifest["figures"]
    assert figures.keys() >= FIGURES.keys()
    assert manifest["left_out"].keys() == {"not_json", "not_utf8"}
    assert manifest["source"] == {"first_day": "2019-01-01", "last_day": "2019-04-30"}
    for path in (*made.glob("topics/*.tsv"), *made.glob("qrels/*.txt")):
        assert sum(figures[path.stem]) == len(path.read_text().splitlines())


def test_a_log_gives_the_same_files_and_the_published_figures_beside_its_own(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        run(small, tmp_path / name, "--held-out=1")
    assert texts(tmp_path / "one") == texts(tmp_path / "two")
    said = [line.split()[1:] for line in capsys.readouterr().out.splitlines()]
    assert ["lines", "of", "the", "log", "168", "5,317,350"] in said
    assert ["qrels.raw.head.val", "0", "/", "1", "32,297", "/", "32,067"] in said
    assert ["topics.tail.test", "1", "1,175"] in said


@pytest.mark.parametrize(
    ("typed", "query"),
    [
        ("Asthma  title:children ", "Asthma children"),
        ("asthma tag:x", None),
        ("(sepsis OR shock) AND adults from:2005 to:2010", "sepsis shock adults"),
        ("ORAL BANDAGE", "AL BAGE"),
        ("burns (NOT a) b (NOT c d NOT e", "burns b"),
        ("pain~3 steroid*", "pain steroid"),
        ('“heart failure”, "x"', "heart failure x"),
        ("one\ttwo\nNOT three", "one two"),
        ("(*)", None),
        ("", None),
    ],
)
def test_a_query_is_what_the_published_steps_leave_of_keywords(typed: str, query: str | None) -> None:
    assert query_of(typed) == query


def test_draws_are_those_of_numpy() -> None:
    """`numpy.random.seed(21)`, then `choice(…, replace=False, p=…)` with these weights, twice."""
    draws = generator()
    weights = [1 + number * number % 17 for number in range(40)]
    assert choose(draws, weights, 12) == [3, 10, 27, 2, 8, 26, 11, 24, 4, 32, 9, 22]
    assert choose(draws, weights, 38) == [
        32,
        29,
        38,
        13,
        14,
        27,
        10,
        31,
        37,
        21,
        7,
        12,
        20,
        22,
        8,
        30,
        24,
        25,
        36,
        19,
        11,
        26,
        3,
        5,
        4,
        15,
        34,
        18,
        9,
        28,
        23,
        2,
        39,
        6,
        1,
        35,
        33,
        0,
    ]


def test_what_is_too_long_is_left_out_with_the_contracts_reason(tmp_path: Path) -> None:
    long = {"DocumentId": 1, "Documents": None, "Title": "t", "Url": "u"}
    rows = ({**long, "Keywords": "x" * 10_001}, {**long, "Keywords": "two words", "Title": "t" * 10_001}, long)
    (tmp_path / "2019-01-01.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    log = Log(files_of(tmp_path, None, dt.date(2019, 1, 1))[0])
    assert [batch.to_pylist() for batch in log.batches()] == [
        [{"number": 0, "query": None, "document": 1, "page": [], "title": "t", "url": "u"}]
    ]
    assert (log.lines, log.left_out) == (3, {"long_keywords": 1, "long_title": 1})


def test_what_cannot_be_done_says_why(small: Path, tmp_path: Path) -> None:
    for out, why in (
        (ROOT / "benchmark", "is in the repository"),
        (small, "already exists"),
        (tmp_path / "a" / "b", "there is no folder"),
    ):
        with pytest.raises(NonRetryableError, match=why):
            run(small, out)
    new = tmp_path / "new"
    with pytest.raises(NonRetryableError, match=r"too much for 3 tail, 3 .* of this log: use --held-out 1 or less"):
        run(small, new, "--held-out=2")
    with pytest.raises(NonRetryableError, match=r"--documents .*/none cannot be read"):
        run(small, new, f"--documents={tmp_path / 'none'}")
    with pytest.raises(NonRetryableError, match="the log needs more than 1 MB: raise --memory-mb"):
        run(small, new, "--memory-mb=1")
    (small / "2019-01-01.json").write_text('{"Keywords": ""}')
    with pytest.raises(NonRetryableError, match="the log is too short"):
        run(small, new)
    (small / "2019-01-01.json").rename(small / "2019-01-01.json.gz")
    with pytest.raises(BrokenFileError, match="cannot be read"):
        run(small, new)
    assert list(tmp_path.iterdir()) == [small]
