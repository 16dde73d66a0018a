"""The package jsonschema without its format `duration`, which no schema here has.

For it alone jsonschema would import arrow, a tenth of the check's time. A process that has imported jsonschema before,
as Airflow's have, keeps that format.
"""

from __future__ import annotations

import sys

_absent = "isoduration" not in sys.modules
if _absent:
    sys.modules["isoduration"] = None  # type: ignore[assignment]  # jsonschema leaves out what it cannot import
import jsonschema  # noqa: E402

if _absent:
    del sys.modules["isoduration"]

__all__ = ["jsonschema"]
