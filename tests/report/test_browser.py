"""The report in a real browser: no complaint, every figure drawn, structures that turn."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.report.browser import check_quiet, find_browser, visit
from tests.report.documents import (
    SYSTEM,
    make_bare,
    make_card,
    make_score,
    make_several,
    two_protocols,
)
from tests.report.relaxed_documents import amorphous_card, interface_card

from dismaiflow.report.html import report_text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.report.browser import Visit

BROWSER = find_browser()

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH")

#: Turns the first structure by mouse, hides an element, and notes the view before and after. The
#: page has no frame of its own to wait for in a headless browser, so it is asked for one.
GESTURES = """<script>
const canvas = document.querySelector(".viewers canvas");
const mouse = (name, x, y) => canvas.dispatchEvent(
  new PointerEvent(name, { clientX: x, clientY: y, pointerId: 1, bubbles: true }));
document.body.dataset.before = canvas.dataset.view;
const drawn = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
document.body.dataset.pixels = drawn.filter((value, i) => i % 4 === 3 && value > 0).length;
mouse("pointerdown", 100, 100);
mouse("pointermove", 180, 130);
mouse("pointerup", 180, 130);
document.querySelector(".viewers [data-element=Fe]").click();
requestAnimationFrame(() => requestAnimationFrame(() => {
  document.body.dataset.after = canvas.dataset.view;
  document.body.dataset.pressed =
    document.querySelector(".viewers [data-element=Fe]").getAttribute("aria-pressed");
}));
</script>"""


def open_text(text: str, folder: Path) -> Visit:
    """Write a page and open it."""
    assert BROWSER is not None
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8")
    return visit(BROWSER, page, folder / "profile")


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """A page with every kind of content, on which a structure was turned."""
    hostile = make_score()
    hostile.provenance.model = "</script><script>throw 'injected'</script><b>&amp;"
    text = report_text(
        scores=[hostile, make_several(), make_bare()],
        datasets=[make_card(), interface_card(), amorphous_card()],
        controls={SYSTEM: two_protocols()},
        title="all of it",
    )
    folder = tmp_path_factory.mktemp("page")
    return open_text(text.replace("</body>", GESTURES + "</body>"), folder)


def test_everything_is_drawn_without_complaint(visited: Visit) -> None:
    """Every place of a figure or structure has been drawn on."""
    check_quiet(visited)
    places = re.findall(r'id="(plot-\d+)" class="([^"]*)"', visited.dom)
    # Two scores have a dot plot, 13 histograms and failures, the bare one only failures; the
    # alloy has order, autocorrelation and controls; the interfaces have energies, ends and
    # progress, the blocks ends, coordination and g(r).
    assert len(places) == 2 * 15 + 1 + 3 + 3 + 3
    assert all("js-plotly-plot" in classes for _, classes in places)
    assert visited.dom.count('class="main-svg"') >= len(places)
    canvases = re.findall(r"<canvas[^>]*>", visited.dom)
    assert len(canvases) == 2 * 2 + 3 + 1
    assert all("data-view=" in canvas for canvas in canvases)


def test_a_structure_turns(visited: Visit) -> None:
    """The view differs after dragging, and a click hides an element."""
    body = re.search(r"<body[^>]*>", visited.dom)
    assert body is not None
    noted = dict(re.findall(r'data-(\w+)="([^"]*)"', body[0]))
    assert noted["before"] != noted["after"]
    assert int(noted["pixels"]) > 1000
    assert noted["pressed"] == "false"


@pytest.mark.parametrize(
    "broken",
    [
        "<script>throw new Error('broken on purpose')</script>",
        "<script>console.error('broken on purpose')</script>",
        "<img src='https://example.org/broken on purpose.png'>",
    ],
)
def test_the_test_sees_errors(broken: str, tmp_path: Path) -> None:
    """A script that throws, a logged error and something from elsewhere each fail the check."""
    text = report_text().replace("</body>", broken + "</body>")
    visited = open_text(text, tmp_path)
    with pytest.raises(AssertionError, match=r"broken"):
        check_quiet(visited)
