"""The dashboards' own files: text is drawn as text."""

from __future__ import annotations

import pytest
import yaml

from stack.settings import DASHBOARDS

CHARTS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in DASHBOARDS.glob("charts/*.yaml")}


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_draws_text_as_text(chart: str) -> None:
    params = CHARTS[chart]["params"]
    assert params["viz_type"] == "table" or params["viz_type"].startswith(("echarts_", "big_number_")), "look at it"
    assert params.get("allow_render_html", True) is False or params["viz_type"] != "table"
