"""`python -m jobs.benchmark`: the log → topics, relevance judgements (qrels) and splits of a retrieval benchmark.

It follows the published method, and prints the published figures beside its own. What is derived from real rows is as
restricted as the log: it may not be shared.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from jobs import arguments, cli
from jobs.console import say
from jobs.errors import NonRetryableError
from jobs.producer.log_files import files_of

REPOSITORY = Path(__file__).resolve().parents[2]
MEMORY_MB = 1024  # of the aggregation; more goes to temporary files beside --out
HELD_OUT = 1175  # as published


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m jobs.benchmark", description=__doc__)
    options.add_argument("--ingestion-path", type=Path, required=True, help="folder of the log's files")
    options.add_argument("--out", type=Path, required=True, help="new folder, outside of the repository")
    documents = (
        "file of the documents that count, like TripClick's allarticles.txt (default: those with a title in the log)"
    )
    options.add_argument("--documents", type=Path, help=documents)
    held_out = "queries of each group for validation, and as many for test"
    options.add_argument("--held-out", type=arguments.positive_int, default=HELD_OUT, help=held_out)
    options.add_argument("--memory-mb", type=arguments.positive_int, default=MEMORY_MB, help="of the aggregation")
    return options


def run(options: argparse.Namespace) -> None:
    """Write the folder atomically.

    Raises JobError when the log cannot be read, has too few queries or needs more memory, or the folder must not be
    written.
    """
    from duckdb import OutOfMemoryException

    from jobs.benchmark.entries import Log
    from jobs.benchmark.export import Benchmark

    out: Path = options.out.resolve()
    _refuse(out)
    files, _ = files_of(options.ingestion_path, None, dt.datetime.now(dt.UTC).date())
    log = Log(files)
    # Only the log's readers may see its rows: unfinished output is in a folder that nobody else can read.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as work:
        try:
            with closing(Benchmark(Path(work), options.memory_mb)) as benchmark:
                benchmark.read(log, options.documents)
                benchmark.split(options.held_out)
                benchmark.write(log, options.held_out)
        except OutOfMemoryException:
            wanted = f"the log needs more than {options.memory_mb:,} MB: raise --memory-mb"
            raise NonRetryableError(wanted) from None
        benchmark.folder.replace(out)
    say(f"wrote {out}")


def _refuse(out: Path) -> None:
    if out.is_relative_to(REPOSITORY):
        raise NonRetryableError(f"--out {out} is in the repository, where the log's rows must not be: choose another")
    if out.exists():
        raise NonRetryableError(f"--out {out} already exists: delete it, or choose another")
    if not out.parent.is_dir():
        raise NonRetryableError(f"--out {out}: there is no folder {out.parent}: create it, or choose another")


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
