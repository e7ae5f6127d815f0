"""Scores of free atoms from features: the published formulas, and where there is no value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from scipy.stats import wasserstein_distance

from dismaiflow.benchmark.findings import Findings
from dismaiflow.benchmark.runs import combine_runs
from dismaiflow.benchmark.schemas import Failure
from dismaiflow.benchmark.structure_analysis import AnalysisPlan
from dismaiflow.benchmark.structure_features import StructureFeatures
from dismaiflow.benchmark.structure_findings import SetEnergies, collect_findings
from dismaiflow.benchmark.structure_flows import relaxation_request
from dismaiflow.benchmark.structure_scoring import StructureScorer, explain_missing
from dismaiflow.metrics.motifs import MOTIF_NAMES
from dismaiflow.systems import SystemSpec

from .free_atoms import (
    CORRECTED,
    PUBLISHED,
    amorphous,
    features,
    interface,
    interfaces,
    silicon,
    similarity,
    vectors,
    written_out,
)

#: Systems: their spec, reference, generated structures, atoms whose motifs count, and metrics.
SIGE = {"Si": 40, "Ge": 24}


def case(name: str) -> tuple[SystemSpec, Any, Any, dict[str, int], tuple[str, ...]]:
    """Return spec, reference and generated features, weights and metrics."""
    if name == "interface":
        spec = interface()
        weights = {symbol: spec.composition[symbol] for symbol in spec.cations}
        made = [features(interfaces(n, seed), spec) for n, seed in ((6, 1), (5, 2))]
        metrics = (*(f"d_{symbol.lower()}" for symbol in weights), "d_all")
    else:
        spec, weights = amorphous(**SIGE), SIGE
        made = [
            features(silicon(n, seed, sigma, germanium=24), spec)
            for n, seed, sigma in ((6, 1, 0.1), (5, 2, 0.3))
        ]
        metrics = ("d_motif", "d_rdf", "d_angle")
    return spec, *made, weights, metrics


@pytest.fixture(scope="module", params=["amorphous", "interface"])
def compared(request: pytest.FixtureRequest) -> Any:
    """Return the parts of a case, and its score."""
    spec, theirs, ours, weights, metrics = case(request.param)
    scorer = StructureScorer(AnalysisPlan.from_spec(spec), spec.metrics, spec.composition, theirs)
    failed = [Failure(file=0, index=5, reason="errored"), Failure(file=0, index=6, reason="a")]
    return spec, theirs, ours, weights, metrics, scorer.score_run(ours, 7, failed)


def test_metrics_are_the_published_formulas(compared: Any) -> None:
    """With their intervals, to 1e-10."""
    spec, theirs, ours, weights, metrics, run = compared
    assert set(run.metrics) == {*metrics, "percent_failed"} == set(spec.metrics)
    for name in metrics:
        value, low, high = written_out(vectors(ours, name, weights), vectors(theirs, name, weights))
        found = run.metrics[name]
        assert found.value == pytest.approx(value, abs=1e-10), name
        assert found.ci95 == pytest.approx((low, high), abs=1e-10), name
        assert found.value > 0
    assert run.metrics["percent_failed"].value == pytest.approx(200 / 7, abs=1e-10)
    assert run.n_scored == 5


def test_similarities_are_the_published_formula(compared: Any) -> None:
    """Of fingerprints alone."""
    _, theirs, ours, weights, metrics, run = compared
    fingerprints = [name for name in metrics if name not in ("d_rdf", "d_angle")]
    assert set(run.similarity) == {name.replace("d_", "cos_") for name in fingerprints}
    for name in fingerprints:
        value, low, high = written_out(
            vectors(ours, name, weights), vectors(theirs, name, weights), similarity
        )
        found = run.similarity[name.replace("d_", "cos_")]
        assert found.value == pytest.approx(value, abs=1e-10), name
        assert found.ci95 == pytest.approx((low, high), abs=1e-10), name
        assert 0.5 < found.value < 1


def test_species_are_weighted_by_their_atoms(compared: Any) -> None:
    """The distance of all sites is not the mean of the distances of the species."""
    _, theirs, ours, weights, metrics, run = compared
    name = "d_all" if "d_all" in metrics else "d_motif"
    even = dict.fromkeys(weights, 1)
    other, _, _ = written_out(vectors(ours, name, even), vectors(theirs, name, even))
    if len(set(weights.values())) > 1:
        assert run.metrics[name].value != pytest.approx(other, abs=1e-6)


def test_comparisons_of_distributions(compared: Any) -> None:
    """Each against SciPy or a plain loop."""
    _, theirs, ours, weights, metrics, run = compared
    name = "d_all" if "d_all" in metrics else "d_motif"
    mine, known = vectors(ours, name, weights), vectors(theirs, name, weights)
    distances = [wasserstein_distance(a, b) for a, b in zip(mine.T, known.T, strict=True)]
    assert run.distribution["w1_motif"] == pytest.approx(np.mean(distances), abs=1e-12)
    spreads = [np.sqrt(np.trace(np.cov(rows.T))) for rows in (mine, known)]
    assert run.distribution["spread_ratio"] == pytest.approx(spreads[0] / spreads[1], abs=1e-10)
    assert run.distribution["unique_fraction"] == 1
    assert run.distribution["w1_energy"] is None
    here, there = (f.arrays["profile"].astype(float) for f in (ours, theirs))

    def nearest(point: Any, others: Any) -> float:
        return min(float(np.linalg.norm(point - other)) for other in others)

    usual = np.median([nearest(p, np.delete(there, i, axis=0)) for i, p in enumerate(there)])
    found = [nearest(point, there) / usual for point in here]
    assert run.distribution["nearest_profile_median"] == pytest.approx(np.median(found), rel=1e-3)
    assert run.distribution["nearest_profile_min"] == pytest.approx(min(found), rel=1e-3)


def test_copies_and_duplicates_are_seen() -> None:
    """Structures of the reference, one of them twice."""
    spec, theirs, _, _, _ = case("amorphous")
    scorer = StructureScorer(AnalysisPlan.from_spec(spec), spec.metrics, spec.composition, theirs)
    run = scorer.score_run(theirs.select(np.array([0, 1, 1, 2])), 4, [])
    assert run.distribution["unique_fraction"] == 0.75
    assert run.distribution["nearest_profile_min"] == pytest.approx(0, abs=1e-3)


def test_energies_are_compared_by_their_places() -> None:
    """Of scored structures alone; one without an energy is left out."""
    spec, theirs, ours, _, _ = case("amorphous")
    known = {i: -4.0 + 0.1 * i for i in range(6)}
    scorer = StructureScorer(
        AnalysisPlan.from_spec(spec), spec.metrics, spec.composition, theirs, known
    )
    energies = {0: -3.0, 2: -3.5, 4: -2.5, 17: 100.0}
    run = scorer.score_run(ours, 5, [], energies)
    wanted = wasserstein_distance([-3.0, -3.5, -2.5], list(known.values()))
    assert run.distribution["w1_energy"] == pytest.approx(wanted, abs=1e-12)
    histogram = scorer.histograms([-3.0, -3.5, -2.5])["energy"]
    assert (histogram.edges[0], histogram.edges[-1]) == (-4.0, -2.5)
    assert sum(histogram.generated) == pytest.approx(1, abs=1e-5)
    assert scorer.histograms([]) == {}


def test_nothing_scored() -> None:
    """Null with reasons; the share of failures is 100 %."""
    spec, theirs, _, _, _ = case("amorphous")
    scorer = StructureScorer(AnalysisPlan.from_spec(spec), spec.metrics, spec.composition, theirs)
    failed = [Failure(file=0, index=i, reason="errored") for i in range(3)]
    run = scorer.score_run(theirs.emptied(), 3, failed)
    for name in ("d_motif", "d_rdf", "d_angle"):
        assert run.metrics[name].value is None
        assert run.metrics[name].reason == "no structure could be scored"
    assert run.similarity["cos_motif"].value is None
    assert run.metrics["percent_failed"].value == 100
    assert set(run.distribution.values()) == {None}
    reasons = explain_missing(run.distribution, 0)
    assert set(reasons.values()) == {"no structure could be scored"}
    assert scorer.score_run(theirs.emptied(), 0, []).metrics["percent_failed"].value is None


def test_a_reference_of_one_structure() -> None:
    """Has no spread and no typical distance; the metrics are there."""
    spec, theirs, ours, _, _ = case("amorphous")
    one = theirs.select(np.array([0]))
    scorer = StructureScorer(AnalysisPlan.from_spec(spec), spec.metrics, spec.composition, one)
    run = scorer.score_run(ours, 5, [])
    assert run.metrics["d_motif"].value > 0
    assert run.distribution["spread_ratio"] is None
    assert run.distribution["nearest_profile_median"] is None


def test_runs_are_averaged() -> None:
    """Mean, minimum, maximum, no interval; a run without a value is told."""
    spec, theirs, ours, _, _ = case("amorphous")
    scorer = StructureScorer(AnalysisPlan.from_spec(spec), spec.metrics, spec.composition, theirs)
    failed = [Failure(file=1, index=0, reason="errored")]
    runs = [
        scorer.score_run(ours, 5, []),
        scorer.score_run(theirs.emptied(), 1, failed),
        scorer.score_run(ours.select(np.array([1, 3])), 2, []),
    ]
    values = [run.metrics["d_rdf"].value for run in runs]
    found = combine_runs(runs)["d_rdf"]
    assert found.value == pytest.approx((values[0] + values[2]) / 2, abs=1e-12)
    assert (found.min, found.max) == (min(values[0], values[2]), max(values[0], values[2]))
    assert found.ci95 is None
    assert found.reason == "1 of 3 files have no such value"
    share = combine_runs(runs)["percent_failed"]
    assert (share.value, share.min, share.max) == (pytest.approx(100 / 3), 0, 100)


def findings_of(codes: Any, protocol: Any) -> Findings:
    """Return what stands beside a score whose sites have these motifs, on both sides."""
    spec = amorphous(Si=64)
    made = features(silicon(2, 3), spec, protocol)
    arrays = {**made.arrays, "codes:Si": np.asarray(codes), "counts:Si": np.zeros((2, 50, 0), int)}
    made = replace(made, arrays=arrays)
    scorer = StructureScorer(AnalysisPlan.from_spec(spec), spec.metrics, {"Si": 64}, made)
    return collect_findings(
        spec, protocol, scorer, made, [], None, [], SetEnergies(), 10.862 * np.eye(3)
    )


def test_motifs_at_the_threshold() -> None:
    """The scripts list a motif of 1 % of the sites; the paper says more than 1 %."""
    tetrahedral, rare = (MOTIF_NAMES.index(n) for n in ("tetrahedral CN_4", "octahedral CN_6"))
    codes = np.full((2, 50), tetrahedral)
    codes[1, 7] = rare
    listed = {}
    for protocol in (PUBLISHED, CORRECTED):
        (table,) = findings_of(codes, protocol).motifs
        listed[protocol.name] = {share.motif: share.reference for share in table.motifs}
    assert listed["published"] == {"tetrahedral CN_4": 99, "octahedral CN_6": 1}
    assert listed["corrected"] == {"tetrahedral CN_4": 99}


def test_curves_are_means_with_bands() -> None:
    """Six digits of the mean over structures."""
    spec = amorphous(Si=64)
    theirs, ours = features(silicon(4, 1), spec), features(silicon(3, 2), spec)
    scorer = StructureScorer(AnalysisPlan.from_spec(spec), spec.metrics, {"Si": 64}, theirs)
    found = collect_findings(
        spec, PUBLISHED, scorer, ours, [], None, [], SetEnergies(), 10.862 * np.eye(3)
    )
    curve = found.curves["rdf"]
    np.testing.assert_allclose(curve.generated, ours.arrays["rdf"].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(curve.reference, theirs.arrays["rdf"].mean(axis=0), rtol=1e-5)
    place = int(np.argmax(curve.generated))
    assert curve.x[place] == pytest.approx(2.35, abs=0.15)
    assert curve.low[place] < curve.generated[place] < curve.high[place]
    assert found.interface_energies is None
    assert found.relaxations is None


def test_small_cells_and_the_two_protocols() -> None:
    """Published g(r) takes a doubled cell for the world; corrected finds all neighbours to 10 Å."""
    spec = amorphous(Si=8)
    structures = silicon(1, 4, sigma=0.05, side=1)
    cell = structures.cells[0]
    centres = neighbor_list("i", structures.atoms(0), 9.999)
    wanted = len(centres) / 8
    density = 8 / np.linalg.det(cell)
    edges = np.linspace(0, 10, 501)
    shells = 4 / 3 * np.pi * np.diff(edges**3) * density
    found = {}
    for protocol in (PUBLISHED, CORRECTED):
        g = features(structures, spec, protocol).arrays["rdf"][0]
        found[protocol.name] = float((g * shells).sum())
    assert found["corrected"] == pytest.approx(wanted, abs=1.1)
    # Each of the 64 atoms of the doubled cell once, but for the atom itself.
    assert found["published"] == pytest.approx(63)


def test_what_the_protocols_ask_of_a_relaxation() -> None:
    """Acceptance force, how atoms are pushed, and whether atoms may end in one place."""
    spec = amorphous(Si=64)
    published, corrected = (relaxation_request(spec, p) for p in (PUBLISHED, CORRECTED))
    assert (published.push, corrected.push) == ("published", "corrected")
    assert (published.settings.tolerance, corrected.settings.tolerance) == (0.001, 0.0)
    assert (published.settings.fmax, corrected.settings.fmax) == (0.05, 0.05)
    assert published.settings.min_distance == 0 < corrected.settings.min_distance
    still = relaxation_request(spec, PUBLISHED, move=False)
    assert still.push is None
    assert still.settings.fmax > 1e6
    assert len({published.hash, corrected.hash, still.hash}) == 3


def test_features_survive_the_store() -> None:
    """All arrays and failures, sorted by place however they were cut."""
    made = features(silicon(4, 5), amorphous(Si=64))
    parts = [made.select(np.array([3, 1])), made.emptied(), made.select(np.array([0, 2]))]
    parts = [StructureFeatures.from_bytes(part.to_bytes()) for part in parts]
    joined = StructureFeatures.concatenate(parts)
    assert joined.indices.tolist() == [0, 1, 2, 3]
    for name, values in made.arrays.items():
        np.testing.assert_array_equal(joined.arrays[name], values)
