"""Which batches of a stream are compared with its tables."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.spark.overlap import Overlap


@pytest.mark.parametrize(("root", "compared"), [("s3a://lake", [True, False, False]), ("/lake", [False, False, False])])
def test_on_s3_the_first_batch_of_a_run_is_compared_though_nobody_else_has_written(
    root: str, compared: list[bool]
) -> None:
    overlap, spark = Overlap(f"{root}/clicks", f"{root}/quarantine"), object()
    known: Any = object()
    overlap._files, overlap._is_possible = known, False
    assert [overlap.is_possible(spark, "stream") for _ in compared] == compared  # type: ignore[arg-type]
