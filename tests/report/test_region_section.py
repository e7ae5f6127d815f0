"""Region evaluations on the page and on the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dismaiflow.benchmark.region_schemas import (
    Band,
    Estimate,
    RegionBonds,
    RegionCurve,
    RegionEnergies,
    RegionEvaluationDoc,
    RegionMotif,
    RegionSet,
    SetEnergies,
    Similarity,
)
from dismaiflow.benchmark.schemas import Metric
from dismaiflow.report.html import report_text
from dismaiflow.report.markup import Page
from dismaiflow.report.region_plots import counted_motifs_plot, region_motifs_plot, set_colours
from dismaiflow.report.region_rows import published_regions, similarity_rows
from dismaiflow.report.region_section import region_section, region_table


def document() -> RegionEvaluationDoc:
    """Return an evaluation of lsc-lco with a failure, and one set of a single structure."""
    sets = {
        name: RegionSet(
            name="<b>.extxyz", content_hash="0", choice="all", n_structures=3, n_evaluated=2
        )
        for name in ("training", "low")
    }
    sets["low"].failures = {"analysis_failed": 1}
    sets["low"].example = "structure 4: no <region> can be found"
    share = {"training": Estimate(value=60, low=50, high=70), "low": Estimate(value=40)}
    motifs = [
        RegionMotif(
            motif=name,
            share=share,
            by_count={"O": {"training": [Estimate(value=0.2), Estimate(value=59.8)]}},
        )
        for name in ("octahedral CN_6", "tetrahedral CN_4")
    ]
    metric = Metric(value=0.25, ci95=(0.2, 0.3))
    return RegionEvaluationDoc(
        system="lsc-lco",
        centres=["Li", "Sc"],
        anions=["O", "Cl"],
        sets=sets,
        fingerprints={"Sc": {"low": Similarity(distance=metric, cosine=Metric(value=None))}},
        motifs={"Sc": motifs},
        bonds=[RegionBonds(centre="Sc", neighbour="O", count=share)],
        curves=[
            RegionCurve(
                centre="Sc",
                neighbour="O",
                r=[0.05, 0.15],
                sets={
                    "training": Band(mean=[0, 1], low=[0, 0], high=[0, 2]),
                    "low": Band(mean=[1, 1]),
                },
            )
        ],
        energies=RegionEnergies(
            cut=0,
            reference_energy=None,
            rule="interface energies of the files",
            edges=[-1, 0, 1],
            sets={"low": SetEnergies(n=2, mean=-0.1, percent_low=50, shares=[0.5, 0.5])},
        ),
    )


def test_the_published_tables() -> None:
    """Tables 4 and S7 as printed, typed here a second time."""
    table = {
        ("Sc", "low"): ("0.2791 (0.2500 to 0.3077)", "0.9905 (0.9886 to 0.9926)"),
        ("Sc", "high"): ("0.7074 (0.6734 to 0.7429)", "0.9316 (0.9250 to 0.9380)"),
        ("Li", "low"): ("0.1297 (0.1106 to 0.1455)", "0.9974 (0.9968 to 0.9982)"),
        ("Li", "high"): ("0.1361 (0.1226 to 0.1471)", "0.9973 (0.9969 to 0.9979)"),
    }
    assert list(published_regions()) == ["lsc-lco"]
    for centre in ("Sc", "Li"):
        rows = [row for row in similarity_rows(document(), centre) if row.is_published]
        found = [(" ".join(row.distance), " ".join(row.cosine)) for row in rows]
        assert found == [table[centre, "low"], table[centre, "high"]]


def test_the_page_has_all_parts() -> None:
    page = Page()
    text = region_section(page, document())
    headings = [heading for _, heading, level in page.contents if level == 3]
    assert headings == [
        "Interface energies",
        "Mean fingerprints beside those of the training set",
        "Coordination motifs of Sc",
        "Bonds",
        "Radial distribution functions",
    ]
    assert len(page.plots) == 5
    assert "no &lt;region&gt; can be found" in text
    assert "<b>" not in text
    assert "CryinGAN, low energy (paper)" in text
    assert "relaxed by DFT" in text


def test_evaluations_stand_on_a_page_of_their_own() -> None:
    assert "Regions of lsc-lco" in report_text(regions=[document()])


def test_low_coordination_stands_at_the_top() -> None:
    colours = set_colours(["training", "low"])
    motifs = document().motifs["Sc"]
    plot = region_motifs_plot("Sc", motifs, colours)
    assert plot is not None
    assert plot.layout["yaxis"]["ticktext"] == ["tetrahedral, CN 4", "octahedral, CN 6"]
    first, second = plot.data
    assert first["error_x"]["array"] == [10, 10]
    assert second["error_x"]["array"] == [0, 0]
    counted = counted_motifs_plot("Sc", "O", motifs, colours)
    assert counted is not None
    # 0.2 % is too little for a row.
    assert counted.layout["yaxis"]["ticktext"] == [
        "tetrahedral, CN 4 (1 O)",
        "octahedral, CN 6 (1 O)",
    ]
    assert counted_motifs_plot("Sc", "Cl", motifs, colours) is None


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal(width: int) -> None:
    stream = io.StringIO()
    Console(file=stream, width=width).print(region_table(document()))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    assert "2 of 3 evaluated" in words
    assert "analysis failed 1" in words
    assert "0.2791" in words
