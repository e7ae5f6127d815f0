"""The spider chart: every rank where it belongs, and drawn by a browser without complaint."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

import pytest
from tests.report.browser import check_quiet, find_browser, visit
from tests.report.documents import make_score
from tests.report.test_plots import _coloured, check

from dismaiflow.benchmark.published import MODELS, published_systems
from dismaiflow.benchmark.ranks import RULE, Rank, ranks
from dismaiflow.report.html import report_text
from dismaiflow.report.spider import spider_caption, spider_plot

if TYPE_CHECKING:
    from pathlib import Path

MINE = {"d_cluster": 0.05, "percent_failed": 0.0}


def with_mine(*systems: str) -> dict[str, list[Rank]]:
    """Return all ranks, with a new model on some systems."""
    return {s: ranks(s, {"<mine>": MINE} if s in systems else None) for s in published_systems()}


def test_published_models() -> None:
    """Five closed lines over six datasets; rank 1 is outside."""
    plot = check(spider_plot(with_mine()))
    assert [trace["name"] for trace in plot.data] == list(MODELS)
    cdvae = plot.data[0]
    assert cdvae["theta"] == [*published_systems(), "lsc-lco"]
    assert cdvae["r"] == [3, 1, 1, 1, 2, 2, 3]
    radial = plot.layout["polar"]["radialaxis"]
    assert radial["range"][0] > 5
    assert 0 < radial["range"][1] < 1
    assert radial["tickvals"] == [1, 2, 3, 4, 5]
    sizes = [trace["marker"]["size"] for trace in plot.data]
    assert len(set(sizes)) == len(MODELS)


def test_a_new_model_has_spokes_where_it_is_comparable() -> None:
    found = with_mine("alloy-300K-wide", "alloy-1500K-wide")
    plot = check(spider_plot(found))
    new = plot.data[-1]
    assert new["name"] == "&lt;mine&gt;"
    assert new["r"] == [None, None, None, 1, None, 2, None]
    assert new["marker"]["color"] == "@new"
    assert "rank 2" in new["hovertext"][5]
    assert plot.layout["polar"]["radialaxis"]["tickvals"][-1] == 6
    caption = spider_caption(found)
    assert RULE in caption
    assert "derived" in caption
    assert caption.endswith(
        "<mine> has a comparable score on alloy-300K-wide, alloy-1500K-wide only."
    )


def test_nothing_to_draw() -> None:
    assert spider_plot({}) is None
    assert spider_plot({"lsc-lco": []}) is None


PAGE = """<!doctype html><html><head><title>ranks</title></head><body>
<div id="data" hidden>{data}</div><div id="plot" style="width:640px;height:520px"></div>
<script>{plotly}</script>
<script>const figure = JSON.parse(document.getElementById("data").textContent);
Plotly.newPlot("plot", figure.data, figure.layout);</script></body></html>"""


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no chromium on PATH")
def test_a_browser_draws_it(tmp_path: Path) -> None:
    from plotly.offline import get_plotlyjs

    browser = find_browser()
    assert browser is not None
    plot = spider_plot(with_mine("alloy-300K-wide"))
    assert plot is not None
    data = html.escape(json.dumps(_coloured(plot.as_dict())))
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(data=data, plotly=get_plotlyjs()), encoding="utf-8")
    visited = visit(browser, page, tmp_path / "profile")
    check_quiet(visited)
    assert visited.dom.count('class="trace scatter ') == 6


def test_a_score_in_rank_has_its_spoke_in_the_report() -> None:
    """A comparable score is among the ranks of the page, and one that is not has none."""
    score = make_score()
    assert "Ranks (derived)" not in report_text(scores=[score])
    published = score.published.model_copy(update={"comparable": True, "why_not": None})
    page = report_text(scores=[score.model_copy(update={"published": published})])
    assert "Ranks (derived)" in page
    # d_cluster 0.0123 is below all of Table 3.
    assert "1. my-model" in page
    assert "my-model has a comparable score on alloy-1500K-wide only" in page
