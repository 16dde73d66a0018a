"""How the published benchmark groups queries by frequency and grades documents by clicks, as bounds and SQL."""

from __future__ import annotations

from typing import Final

TAIL_MOST: Final = 5  # clicks on a query
TORSO_MOST: Final = 44

# The grades of a document that was shown more than once for a query, from `shown` and `clicked`, in whole numbers:
# 25 * clicked < shown is a share below 4 %. By the published code, and as ir_datasets describes it.
DCTR_CODE: Final = """
CASE WHEN 25 * clicked < shown THEN 0 WHEN 10 * clicked < 3 * shown THEN 1 WHEN clicked < shown THEN 2 ELSE 3 END
""".strip()
DCTR_DOCS: Final = """
CASE WHEN clicked = 0 THEN 0 WHEN 25 * clicked < shown THEN 1 WHEN 10 * clicked <= 3 * shown THEN 2 ELSE 3 END
""".strip()
