"""The report: complete in itself, escaped, and right for whatever a score lacks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from tests.report.documents import (
    HASH,
    SYSTEM,
    make_bare,
    make_card,
    make_comparable,
    make_score,
    make_several,
    two_protocols,
)

from dismaiflow.errors import DismaiError
from dismaiflow.report.html import report_text, write_report
from dismaiflow.report.markup import Html, escape, inline_json, table, tag
from dismaiflow.report.score_section import MAX_FAILED, binned_wasserstein

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.benchmark.schemas import ScoreDoc

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"


class Reader(HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def read(text: str) -> Reader:
    """Parse a page; elements that are not closed in order fail."""
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def full() -> Reader:
    """A page of one score with its dataset."""
    return read(
        report_text(
            scores=[make_score()],
            datasets=[make_card()],
            controls={SYSTEM: two_protocols()},
            title="a run",
        )
    )


def test_plotly_is_inlined_once() -> None:
    """However many scores there are."""
    text = report_text(scores=[make_score(), make_several()], datasets=[make_card()])
    assert len(re.findall(r"\* plotly\.js v\d", text)) == 1
    assert len(read(text).scripts) == 4


def test_nothing_is_loaded_from_elsewhere(full: Reader) -> None:
    """No element names a resource, and the policy forbids any."""
    for name, attributes in full.elements:
        assert "src" not in attributes
        if name == "link":
            assert attributes["href"] == "data:,"
        elif "href" in attributes:
            assert str(attributes["href"]).startswith("#")
    policies = [a["content"] for n, a in full.elements if a.get("http-equiv")]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'")


def test_contents_lead_to_headings(full: Reader) -> None:
    """Every link has its target, and ids are unique."""
    ids = [attributes["id"] for _, attributes in full.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"] for n, a in full.elements if n == "a"]
    assert len(links) > 8
    assert {str(link)[1:] for link in links} <= set(ids)


def test_figures_have_their_data(full: Reader) -> None:
    """Places of figures and structures match what the scripts are given."""
    plots, structures = (json.loads(script) for script in full.scripts[:2])
    ids = {str(attributes.get("id")) for _, attributes in full.elements}
    assert set(plots) | set(structures) <= ids
    # Dot plot, 13 histograms, failures; order, autocorrelation, controls.
    assert len(plots) == 18
    assert [len(one["atoms"]) for one in structures.values()] == [4, 4]


def test_a_score_with_everything(full: Reader) -> None:
    """Numbers as the paper prints them, controls, published rows, reasons and provenance."""
    text = full.text
    for expected in (
        "0.0123",
        "[0.0119, 0.0128]",
        "61.9",
        "3.00",
        "train-resample",
        "random-occupancy",
        "published (not comparable: this machine has no verified copy of the published data",
        "0.0338",
        "(0.0332, 0.0342)",
        "1.3 times the floor of 0.00949",
        "Random occupancy of the lattice (d_cluster 0.0277) beats the paper's best model "
        "(DiffCSP, 0.0338)",
        "lose the first atom of a structure",
        "3 of 100 structures could not be scored",
        "has 255 atoms",
        "wrong_count",
        HASH,
        "bootstrap seed",
        "dismaiflow 0.1.0",
    ):
        assert expected in text, expected


def test_a_dataset(full: Reader) -> None:
    """Sizes, independence, warnings and missing runs."""
    text = full.text
    for expected in (
        "Dataset alloy-1500K-wide",
        "256 atoms (Fe154 Ni51 Cr51), cell 14.4 × 14.4 × 14.4 Å, sampled at 1500 K",
        "the runs at 1500 K are too short to show that they agree",
        "1 Monte Carlo run did not finish",
        "871",
        "of 1,500 drawn",
        "undecided",
        "corrected-1-registered",
    ):
        assert expected in text, expected


def test_several_files() -> None:
    """The mean with minimum and maximum, and each file."""
    text = read(report_text(scores=[make_several()])).text
    assert "min and max of 2 models: 0.0200 to 0.0400" in text
    assert "(0.0200, 0.0400)" in text
    assert "each file" in text
    assert "b.extxyz" in text


def test_nothing_scored_and_no_controls() -> None:
    """Null metrics come with their reasons, and what is missing is said."""
    page = read(report_text(scores=[make_bare()]))
    text = page.text
    assert "d_cluster: no structure could be scored" in text
    assert "No controls were scored" in text
    assert "There are no histograms" in text
    assert "the paper has no table for this system" in text
    assert f"The first {MAX_FAILED} of 100" in text
    assert "lose the first atom" not in text
    assert list(json.loads(page.scripts[0])) == ["plot-1"]


def test_comparable() -> None:
    """The score stands among the published rows, and nothing is set apart."""
    text = read(report_text(scores=[make_comparable()])).text
    assert "in rank with the published models" in text
    assert "not comparable" not in text
    table_text = text[text.index("in rank with") :]
    names = ["my-model", "DiffCSP", "CDVAE", "CryinGAN"]
    places = [table_text.index(name) for name in names]
    assert places == sorted(places)


def test_controls_without_a_dataset_and_from_a_card() -> None:
    """Controls are shown wherever they come from."""
    assert "Controls of" in read(report_text(controls={SYSTEM: two_protocols()})).text
    card = make_card()
    card.controls = {key: d.model_dump(mode="json") for key, d in two_protocols().items()}
    assert "published-1-fixed" in read(report_text(datasets=[card])).text
    card.controls = {"published-9-fixed": {"from": "the future"}}
    assert "come from another version" in read(report_text(datasets=[card])).text


def test_overview_of_several() -> None:
    """Datasets and scores of the same name have links of their own."""
    page = read(report_text(scores=[make_score()] * 2, datasets=[make_card(), make_card()]))
    rows = [a["href"] for n, a in page.elements if n == "a"][-4:]
    assert len(set(rows)) == 4


def test_a_card_of_another_kind() -> None:
    """A dataset without sampling statistics is shown with what it has."""
    card = make_card("amorphous-si")
    card.statistics, card.warnings = {}, []
    text = read(report_text(datasets=[card])).text
    assert "Dataset amorphous-si" in text
    assert "Sampling" not in text


def test_empty() -> None:
    """A page about nothing is a page, without plotly."""
    text = report_text()
    assert "nothing to report" in read(text).text
    assert len(text) < 100_000


@pytest.fixture
def hostile() -> ScoreDoc:
    """A score in which every string is an attack."""
    score = make_several()
    score.provenance.model = HOSTILE
    score.provenance.reference = HOSTILE
    score.provenance.generated_files = [HOSTILE, HOSTILE]
    score.per_run[0]["file"] = HOSTILE
    score.failures = {HOSTILE: 1}
    score.failed[0].reason = score.failed[0].detail = HOSTILE
    score.published.why_not = HOSTILE
    score.controls[HOSTILE] = score.controls["rattled"]
    score.histograms[HOSTILE] = score.histograms["formation_energy"]
    score.distribution[HOSTILE] = 1.0
    return score


def test_everything_is_escaped(hostile: ScoreDoc) -> None:
    """No string of a document becomes an element."""
    card = make_card()
    card.warnings = [HOSTILE]
    card.protocol[HOSTILE] = HOSTILE
    text = report_text(scores=[hostile], datasets=[card], title=HOSTILE)
    assert "alert(1)</script>" not in text
    page = read(text)
    assert len(page.scripts) == 4
    assert "img" not in [name for name, _ in page.elements]
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert HOSTILE in page.text


def test_labels_of_figures_are_escaped(hostile: ScoreDoc) -> None:
    """Plotly reads labels as HTML too."""
    plots = json.loads(read(report_text(scores=[hostile])).scripts[0])
    strings: list[str] = []

    def collect(value: object) -> None:
        if isinstance(value, str):
            strings.append(value)
        for item in value.values() if isinstance(value, dict) else ():
            collect(item)
        for item in value if isinstance(value, list) else ():
            collect(item)

    collect(plots)
    assert not any(re.search(r"<(?!/?b>|br>|/?extra>)", text) for text in strings)
    assert any("alert" in text for text in strings)


def test_numbers_that_are_not_finite() -> None:
    """They are shown as missing, not as NaN, which JSON does not have."""
    score = make_score()
    score.metrics["d_cluster"].value = float("nan")
    score.controls["rattled"]["d_cluster"] = float("inf")
    score.histograms["formation_energy"].generated[0] = float("nan")
    page = read(report_text(scores=[score]))
    assert "NaN" not in page.scripts[0]
    assert "nan" not in page.text.split()


def test_written_whole(tmp_path: Path) -> None:
    """The file is there and nothing beside it; where it cannot be, one line says so."""
    path = write_report(tmp_path / "report.html", scores=[make_score()], title="<a & b>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert "<title>&lt;a &amp; b&gt;</title>" in path.read_text("utf-8")
    with pytest.raises(DismaiError, match=r"nowhere"):
        write_report(tmp_path / "nowhere" / "report.html")


def test_the_same_documents_give_the_same_bytes() -> None:
    """Nothing of the day or the machine gets in."""
    assert report_text(scores=[make_score()]) == report_text(scores=[make_score()])


def test_markup() -> None:
    """Text is escaped, HTML is not, and attributes are quoted."""
    assert escape("<b>") == "&lt;b&gt;"
    assert escape(Html("<b>")) == "<b>"
    made = tag("p", "a & b", tag("i", "c"), None, class_="x y", data_z='"', hidden=True, title=None)
    assert made == '<p class="x y" data-z="&quot;" hidden>a &amp; b<i>c</i></p>'
    assert '<th scope="row">&lt;a&gt;</th><td>1</td>' in table([], [["<a>", 1]])
    assert inline_json({"a": "</script>", "b": float("nan")}) == (
        '{"a":"\\u003c/script\\u003e","b":null}'
    )


def test_binned_wasserstein() -> None:
    """All of one bin moved by two bins of 0.1; shares of a half moved by one."""
    histogram = make_score().histograms["formation_energy"]
    histogram.edges = [0.0, 0.1, 0.2, 0.3]
    histogram.generated, histogram.reference = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    assert binned_wasserstein(histogram) == pytest.approx(0.2)
    histogram.generated, histogram.reference = [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]
    assert binned_wasserstein(histogram) == pytest.approx(0.05)


def test_loading_is_light() -> None:
    """Commands that print a table do not wait for plotly, jobflow or numba."""
    code = (
        "import sys, dismaiflow.report.html, dismaiflow.report.tables\n"
        "print([m for m in ('plotly', 'jobflow', 'numba', 'ase', 'pymatgen') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
