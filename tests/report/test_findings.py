"""The part of the report that only structures with free atoms have."""

from __future__ import annotations

from tests.report.documents import make_score

from dismaiflow.benchmark.findings import (
    BondCount,
    Curve,
    Findings,
    InterfaceEnergies,
    MotifShare,
    MotifTable,
    Relaxations,
    RelaxationSummary,
)
from dismaiflow.benchmark.schemas import Metric
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.report.html import report_text


def summary(n: int) -> RelaxationSummary:
    """Return how structures relaxed."""
    return RelaxationSummary(
        n_structures=n,
        by_status={"converged": n - 1, "not_converged": 1},
        steps_mean=12.5,
        steps_std=3.25,
        drop_mean=640.0,
        drop_std=80.0,
    )


FINDINGS = Findings(
    curves={
        "rdf": Curve(
            title="Radial distribution function",
            x_label="distance, Å",
            y_label="g(r)",
            x=[1.0, 2.0],
            generated=[0.5, 1.5],
            low=[0.4, 1.4],
            high=[0.6, 1.6],
            reference=[0.7, 1.7],
        )
    },
    motifs=[
        MotifTable(
            species="Sc",
            counted="Cl",
            motifs=[
                MotifShare(
                    motif="octahedral CN_6",
                    reference=60.0,
                    generated=55.0,
                    low=50.0,
                    high=59.0,
                    reference_by_count={"5": 20.0, "6": 40.0},
                    generated_by_count={"5": 15.0, "6": 40.0},
                ),
                MotifShare(motif="sgl_bd CN_1", reference=2, generated=3, low=1, high=4),
            ],
        )
    ],
    bonds=[BondCount(centre="Sc", neighbour="O", generated=1.25, low=1.1, high=1.4, reference=1.5)],
    relaxations=Relaxations(
        potential=PotentialCard(name="my-potential", engine="matgl", hash="ab" * 32),
        settings={},
        generated=summary(10),
        reference=summary(20),
    ),
    interface_energies=InterfaceEnergies(
        reference_energy=-4.78,
        rule="the lowest relaxed reference structure stands at -0.4 J/m²",
        potential_hash="ab" * 32,
        area=207.8,
        mean=-0.1,
        std=0.05,
        lowest=-0.35,
        percent_low=85.0,
        reference_mean=-0.2,
        reference_lowest=-0.4,
    ),
    missing={"region": "the slabs cannot be told from the region in 1 of 9 generated structures"},
)


def test_everything_that_was_found_is_on_the_page() -> None:
    """With the paper's steps and energies (Table S2) beside those of the score."""
    similarity = {"cos_sc": Metric(value=0.9905, ci95=(0.9886, 0.9926))}
    score = make_score(system="lsc-lco", findings=FINDINGS, similarity=similarity, marks=["a mark"])
    page = report_text(scores=[score])
    for expected in (
        "A mark.",
        "converged 9, not converged 1",
        "12.5 ± 3.25",
        "640 ± 80.0",
        # CDVAE and UniMat of Table S2.
        "10.3 ± 8.71",
        "989 ± 70.0",
        "Relaxed with my-potential",
        "-4.780000",
        "0.9886 to 0.9926",
        "octahedral, CN 6",
        "single bond, CN 1",
        "15 (20)",
        "Sc-O",
        "1.10 to 1.40",
        "the slabs cannot be told from the region",
    ):
        assert expected in page, expected


def test_an_alloy_has_nothing_of_it() -> None:
    """No empty headings."""
    page = report_text(scores=[make_score()])
    assert "Most likely coordination motifs" not in page
    assert "Normalised interface energy" not in page
