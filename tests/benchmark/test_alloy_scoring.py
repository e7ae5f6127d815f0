"""Scores of toy alloys worked by hand, and the corrected protocol on known structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms

from dismaiflow.alloy.cluster_expansion import ClusterExpansion
from dismaiflow.alloy.system import AlloySystem
from dismaiflow.benchmark.alloy_analysis import AlloyAnalyser, AlloyCounts
from dismaiflow.benchmark.alloy_scoring import AlloyScorer
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.runs import (
    RunScore,
    combine_distributions,
    combine_runs,
    count_reasons,
    example,
    listed,
)
from dismaiflow.benchmark.schemas import MAX_LISTED_FAILURES, Failure, Metric
from dismaiflow.errors import DismaiError
from dismaiflow.structures.lattice import SiteLattice
from dismaiflow.structures.structure_set import StructureSet

from .test_published_alloy import SETS, alloy, analyser, inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

A, B, EMPTY = 0, 1, -1
PUBLISHED = ScoringProtocol(name="published")
CORRECTED = ScoringProtocol(name="corrected")

#: A simple cubic cell of 2x2x2 of A and B ("Cr" and "Fe"), site 4x + 2y + z, with two shells.
CUBIC = SiteLattice("sc", 2.5, (2, 2, 2))
SPECIES = ("Cr", "Fe")

#: Unlike first neighbours throughout. Pairs: 24 A-B in the first shell; second neighbours are
#: alike: 24 A-A and 24 B-B.
CHECKERBOARD = np.array([A, B, B, A, B, A, A, B], dtype=np.int8)
#: A at x = 0, B at x = 1. First shell: the four neighbours within a layer are alike, the two of the
#: other layer (the same site twice) unlike: 8 A-A, 8 A-B, 8 B-B. Second: of 12 face diagonals four
#: stay within the layer: 8 A-A, 32 A-B, 8 B-B.
LAYERS = np.array([A, A, A, A, B, B, B, B], dtype=np.int8)

#: Fingerprints: fractions, then pairs over 24 and over 48.
CHECKERBOARD_PRINT = [0.5, 0.5, 0, 1, 0, 0.5, 0, 0.5]
LAYERS_PRINT = [0.5, 0.5, 1 / 3, 1 / 3, 1 / 3, 1 / 6, 2 / 3, 1 / 6]


def toy(n_shells: int = 2) -> AlloySystem:
    """Return the alloy: A-B costs 0.1 and 0.01 eV, second neighbours A-A 0.02 and B-B 0.03 eV."""
    pair = np.array([[[0, 0.1], [0.1, 0]], [[0.02, 0.01], [0.01, 0.03]]])
    expansion = ClusterExpansion(SPECIES, 1.0, np.array([0.2, 0.4]), pair[:n_shells])
    return AlloySystem("toy", CUBIC, expansion, {"Cr": 4, "Fe": 4})


def structures(*occupations: NDArray[np.int8], shift: float = 0.01) -> StructureSet:
    """Place atoms on the sites of the toy, a little off, so that no quirk loses the first one."""
    numbers = np.array([24, 26])[np.array(occupations)]
    positions = np.tile(CUBIC.positions + shift, (len(occupations), 1, 1))
    return StructureSet.uniform(numbers, positions, CUBIC.cell)


def count(
    protocol: ScoringProtocol, what: StructureSet, system: AlloySystem | None = None
) -> AlloyCounts:
    return AlloyAnalyser(system or toy(), protocol).count_generated(what, np.arange(len(what)))


def scorer(protocol: ScoringProtocol, *reference: NDArray[np.int8]) -> AlloyScorer:
    ours = AlloyAnalyser(toy(), protocol)
    return AlloyScorer(ours, ours.count_reference(structures(*reference, shift=0.0)))


def failures(*reasons: str) -> list[Failure]:
    return [Failure(file=0, index=i, reason=reason) for i, reason in enumerate(reasons)]


@pytest.mark.parametrize("protocol", [PUBLISHED, CORRECTED])
def test_features_by_hand(protocol: ScoringProtocol) -> None:
    """Energies: 1 + (0.2 + 0.4)/2 + pairs per atom times their terms.

    Checkerboard: 3 A-B, then 3 A-A and 3 B-B: 1.3 + 0.3 + 0.06 + 0.09 = 1.75 eV.
    Layers: 1 A-B (others cost nothing), then 1 A-A, 4 A-B, 1 B-B: 1.3 + 0.1 + 0.02 + 0.04 + 0.03
    = 1.49 eV.
    Order of the layers: A-B 1 - (1/6)/(1/4) = 1/3, with A-A 1 - (1/3)/(1/4) = -1/3; second shell
    A-B 1 - (1/3)/(1/4) = -1/3, A-A 1 - (1/6)/(1/4) = 1/3.
    """
    counts = count(protocol, structures(CHECKERBOARD, LAYERS))
    features = AlloyAnalyser(toy(), protocol).features(counts)
    expected = np.array([CHECKERBOARD_PRINT, LAYERS_PRINT])
    assert features.fingerprints == pytest.approx(expected, abs=1e-12)
    assert features.energies == pytest.approx([1.75, 1.49], abs=1e-12)
    third = 1 / 3
    order = np.array([[1, -1, 1, -1, 1, -1], [-third, third, -third, third, -third, third]])
    assert features.order == pytest.approx(order, abs=1e-12)


@pytest.mark.parametrize("protocol", [PUBLISHED, CORRECTED])
def test_distance_by_hand(protocol: ScoringProtocol) -> None:
    """Between the orders: the differences 1/3, 2/3, 1/3 twice, root of 12/9.

    From a reference of both, whose mean lies half way, half of that. A generated set of both is at
    distance 0 from it: collapse onto one of them is not.
    """
    full = (12 / 9) ** 0.5
    run = scorer(protocol, LAYERS).score_run(
        count(protocol, structures(CHECKERBOARD, CHECKERBOARD)), 2, []
    )
    assert run.metrics["d_cluster"].value == pytest.approx(full, abs=1e-12)
    assert run.metrics["d_cluster"].ci95 == pytest.approx((full, full), abs=1e-12)
    both = scorer(protocol, LAYERS, CHECKERBOARD)
    run = both.score_run(count(protocol, structures(CHECKERBOARD)), 1, [])
    assert run.metrics["d_cluster"].value == pytest.approx(full / 2, abs=1e-12)
    run = both.score_run(count(protocol, structures(CHECKERBOARD, LAYERS)), 2, [])
    assert run.metrics["d_cluster"].value == pytest.approx(0, abs=1e-12)
    assert run.distribution["spread_ratio"] == pytest.approx(1, abs=1e-12)


def test_distribution_by_hand() -> None:
    """Three layered crystals, one of them moved by a site, against layers and checkerboard.

    Half of the reference is checkerboard. w1_energy: half of the mass moves by 1.75 - 1.49 = 0.26:
    0.13. w1_sro: each of six parameters moves by 4/3 for that half: 2/3. Two of the three are
    different site by site, but all are one up to a translation, and in the reference.
    """
    moved = LAYERS[::-1].copy()
    run = scorer(PUBLISHED, LAYERS, CHECKERBOARD).score_run(
        count(PUBLISHED, structures(LAYERS, LAYERS, moved)), 3, []
    )
    found = run.distribution
    assert found["w1_energy"] == pytest.approx(0.13, abs=1e-12)
    assert found["w1_sro"] == pytest.approx(2 / 3, abs=1e-12)
    assert found["spread_ratio"] == pytest.approx(0, abs=1e-12)
    assert found["unique_fraction"] == pytest.approx(1 / 3, abs=1e-12)
    assert (found["nearest_training_median"], found["nearest_training_min"]) == (0, 0)


def with_a_lost_atom() -> StructureSet:
    """Put the atom of site 000 beside that of 111: one site is vacant, one atom too many."""
    numbers = np.array([[24, 24, 24, 26, 24, 26, 26, 24]])
    positions = CUBIC.positions.copy()
    positions[0] = positions[7] + np.array([0.4, 0.0, 0.0])
    return StructureSet.uniform(numbers, positions[None], CUBIC.cell)


def test_worked_example_with_a_vacancy() -> None:
    """The crystal of tests/metrics/test_clusters.py: 4 A, 3 B, a vacancy; 18 A-B; 24 A-A, 12 B-B.

    published: 18/7 = 2.57143 A-B per atom, over 3; 3.42857 A-A and 1.71429 B-B, over 6.
    Energy from the rounded counts: 1 + 0.2 x 0.57143 + 0.4 x 0.42857 + 0.1 x 2.57143
    + 0.02 x 3.42857 + 0.03 x 1.71429.
    corrected: all first neighbours A-B; 24/36 and 12/36 of the second ones; energy with the exact
    4/7, 3/7, 18/7, 24/7, 12/7: (7 + 0.8 + 1.2 + 1.8 + 0.48 + 0.36) / 7 = 11.64/7.
    """
    published = count(PUBLISHED, with_a_lost_atom())
    assert published.n_vacancies.tolist() == [1]
    features = AlloyAnalyser(toy(), PUBLISHED).features(published)
    expected = [0.57143, 0.42857, 0, 2.57143 / 3, 0, 3.42857 / 6, 0, 1.71429 / 6]
    assert features.fingerprints[0] == pytest.approx(expected, abs=1e-12)
    energy = 1 + 0.2 * 0.57143 + 0.4 * 0.42857 + 0.257143 + 0.0685714 + 0.0514287
    assert features.energies[0] == pytest.approx(energy, abs=1e-12)

    corrected = count(CORRECTED, with_a_lost_atom())
    assert corrected.n_vacancies.tolist() == [1]
    features = AlloyAnalyser(toy(), CORRECTED).features(corrected)
    expected = [4 / 7, 3 / 7, 0, 1, 0, 2 / 3, 0, 1 / 3]
    assert features.fingerprints[0] == pytest.approx(expected, abs=1e-12)
    assert features.energies[0] == pytest.approx(11.64 / 7, abs=1e-12)


def test_percentages_by_hand() -> None:
    """Of five structures one failed; of the four others one has a vacancy: 20 % and 25 %."""
    whole = structures(CHECKERBOARD, LAYERS, LAYERS)
    counts = count(PUBLISHED, StructureSet.concatenate([whole, with_a_lost_atom()]))
    run = scorer(PUBLISHED, LAYERS).score_run(counts, 5, failures("not_finite"))
    assert run.metrics["percent_failed"] == Metric(value=20)
    vacancies = run.metrics["percent_with_vacancies"]
    assert vacancies.value == 25
    # Of four drawn with replacement, none has the vacancy in 32 % of the samples, three or more in
    # 5 %, four in 0.4 %: the quantiles are 0 and 75 %, the pivotal interval 50 - 75 to 50 - 0.
    assert vacancies.ci95 == (-25, 50)
    assert (run.n_generated, run.n_scored) == (5, 4)


@pytest.mark.parametrize("protocol", [PUBLISHED, CORRECTED])
def test_nothing_scored_is_null_with_a_reason(protocol: ScoringProtocol) -> None:
    ours = scorer(protocol, LAYERS)
    nothing = ours.reference.emptied()
    run = ours.score_run(nothing, 2, failures("not_finite", "wrong_cell"))
    for name in ("d_cluster", "percent_with_vacancies"):
        assert run.metrics[name].value is None
        assert run.metrics[name].ci95 is None
        assert run.metrics[name].reason == "no structure could be scored"
    assert run.metrics["percent_failed"].value == 100
    assert set(run.distribution.values()) == {None}
    assert ours.histograms(nothing) == {}
    assert combine_runs([run, run])["d_cluster"].reason == "no structure could be scored"


def test_nothing_generated_is_null_with_a_reason() -> None:
    ours = scorer(PUBLISHED, LAYERS)
    found = ours.score_run(ours.reference.emptied(), 0, []).metrics["percent_failed"]
    assert (found.value, found.reason) == (None, "no structures were generated")


def run_with(d: float | None, failed: float, unique: float | None) -> RunScore:
    metrics = {
        "d_cluster": Metric(value=d, ci95=None if d is None else (d - 1, d + 1)),
        "percent_with_vacancies": Metric(value=d),
        "percent_failed": Metric(value=failed),
    }
    return RunScore(10, metrics, {"unique_fraction": unique, "w1_sro": None}, [])


def test_several_runs_are_averaged_with_minimum_and_maximum() -> None:
    runs = [run_with(0.1, 0, 1.0), run_with(0.2, 10, 0.5), run_with(0.6, 5, None)]
    combined = combine_runs(runs)
    assert combined["d_cluster"].value == pytest.approx(0.3)
    assert (combined["d_cluster"].min, combined["d_cluster"].max) == (0.1, 0.6)
    assert combined["d_cluster"].ci95 is None
    assert combined["d_cluster"].reason is None
    assert combined["percent_failed"] == Metric(value=5, min=0, max=10)
    assert combine_distributions(runs) == {"unique_fraction": 0.75, "w1_sro": None}


def test_one_run_keeps_its_intervals() -> None:
    run = run_with(0.1, 0, 1.0)
    assert combine_runs([run]) == run.metrics


def test_a_run_without_a_value_is_left_out_and_said() -> None:
    combined = combine_runs([run_with(0.1, 0, 1.0), run_with(None, 100, None)])
    assert (combined["d_cluster"].value, combined["d_cluster"].max) == (0.1, 0.1)
    assert combined["d_cluster"].reason == "1 of 2 files have no such value"
    assert combined["percent_failed"].value == 50


def test_failures_are_counted_by_reason_and_listed_up_to_a_limit() -> None:
    many = failures("a", "b", *["a"] * (MAX_LISTED_FAILURES + 10))
    assert count_reasons(many) == {"a": MAX_LISTED_FAILURES + 11, "b": 1}
    assert next(iter(count_reasons(failures("b", "a", "a")))) == "a"
    assert listed(many) == many[:MAX_LISTED_FAILURES]


def test_histograms_share_edges_and_add_up_to_one() -> None:
    ours = scorer(PUBLISHED, LAYERS, CHECKERBOARD)
    found = ours.histograms(count(PUBLISHED, structures(LAYERS, LAYERS, CHECKERBOARD)))
    assert list(found) == [
        *(f"{shell}NN_{pair}" for shell in (1, 2) for pair in ("Cr-Cr", "Cr-Fe", "Fe-Fe")),
        "formation_energy",
    ]
    energy = found["formation_energy"]
    assert energy.unit == "meV/atom"
    assert (energy.edges[0], energy.edges[-1]) == pytest.approx((1490, 1750))
    assert len(energy.edges) == len(energy.generated) + 1
    # Two of three at the low end, one of two in the reference.
    assert (energy.generated[0], energy.generated[-1]) == pytest.approx((2 / 3, 1 / 3), abs=1e-6)
    assert (energy.reference[0], energy.reference[-1]) == (0.5, 0.5)
    for histogram in found.values():
        assert sum(histogram.generated) == pytest.approx(1, abs=1e-5)


def test_a_cluster_expansion_of_one_shell() -> None:
    """The order of one shell is all there is to compare."""
    short = toy(n_shells=1)
    ours = AlloyAnalyser(short, PUBLISHED)
    reference = ours.count_reference(structures(LAYERS, shift=0.0))
    found = AlloyScorer(ours, reference)
    counts = count(PUBLISHED, structures(CHECKERBOARD), short)
    run = found.score_run(counts, 1, [])
    assert run.metrics["d_cluster"].value == pytest.approx((6 / 9) ** 0.5, abs=1e-12)
    assert list(found.histograms(counts))[:-1] == ["1NN_Cr-Cr", "1NN_Cr-Fe", "1NN_Fe-Fe"]


def test_counts_survive_a_store() -> None:
    counts = count(PUBLISHED, StructureSet.concatenate([structures(LAYERS), with_a_lost_atom()]))
    scattered = count(PUBLISHED, structures(LAYERS, shift=1.25))
    assert [b.reason for b in scattered.bad] == ["no_lattice"]
    for whole in (counts, scattered):
        back = AlloyCounts.from_bytes(whole.to_bytes())
        assert back.bad == whole.bad
        for name in ("indices", "monomers", "pairs", "n_vacancies", "occupations"):
            ours, theirs = getattr(whole, name), getattr(back, name)
            assert ours.dtype == theirs.dtype
            assert (ours == theirs).all()
    with pytest.raises(DismaiError, match="not whole"):
        AlloyCounts.from_bytes(counts.to_bytes()[:-1])


def test_chunks_are_joined_in_the_order_of_the_source() -> None:
    ours = AlloyAnalyser(toy(), PUBLISHED)
    late = ours.count_generated(structures(LAYERS, CHECKERBOARD), np.array([5, 3]))
    early = ours.count_generated(structures(CHECKERBOARD), np.array([4]))
    joined = AlloyCounts.concatenate([late, early, late.emptied()])
    assert joined.indices.tolist() == [3, 4, 5]
    assert (joined.occupations == [CHECKERBOARD, CHECKERBOARD, LAYERS]).all()


def test_an_example_for_the_viewer() -> None:
    found = example(structures(LAYERS, CHECKERBOARD), 1)
    assert found["symbols"] == ["Cr", "Fe", "Fe", "Cr", "Fe", "Cr", "Cr", "Fe"]
    assert found["positions"][7] == [2.51, 2.51, 2.51]
    assert found["cell"] == [[5, 0, 0], [0, 5, 0], [0, 0, 5]]


def test_rotated_takes_cubic_cells_only() -> None:
    lattice = SiteLattice("fcc", 3.6, (3, 4, 4))
    system = AlloySystem("long", lattice, toy().expansion, {"Cr": 96, "Fe": 96})
    with pytest.raises(DismaiError, match=r"cubic cells only.*3x4x4.*corrected"):
        AlloyAnalyser(system, ScoringProtocol(alignment="rotated"))
    AlloyAnalyser(system, ScoringProtocol(alignment="fixed"))


def test_a_reference_that_is_not_exactly_on_sites_is_counted_off_lattice() -> None:
    """The published scripts count references without post-processing."""
    exact = inputs("reference").select([0])
    moved = StructureSet.uniform(exact.numbers[None], exact.positions[None] + 0.02, exact.cells[0])
    ours = analyser("fixed")
    on_sites, off = ours.count_reference(exact), ours.count_reference(moved)
    assert (on_sites.occupations >= 0).all()
    assert (off.occupations == -2).all()
    assert (on_sites.pairs == off.pairs).all()


#: What the inputs of tests/data/published_alloy have lost by their construction, None where that is
#: random: the vacancies of `noisy` beyond 0.15 A, of random positions, and of the crop to which 12
#: atoms were added at random.
LOST: dict[str, list[int | None]] = {
    "boundary": [51, 50],
    "mirror": [6],
    "noisy": [0, 0, 0, 0, None, None],
    "perfect": [0, 0, 0, 0],
    "random": [None],
    "rotated": [0, None, 0, 0, 0, 0],
    "ties": [6, 5],
    "translated": [0, 0, 0],
    "vacant": [2, 10, 30, 60],
}


@pytest.mark.parametrize("name", SETS)
def test_corrected_finds_what_was_put_in(name: str) -> None:
    """One alignment for shifted, turned and spoilt crystals; more than 50 lost atoms fail."""
    ours = AlloyAnalyser(alloy(), CORRECTED)
    what = inputs(name)
    found = ours.count_generated(what, np.arange(len(what)))
    vacancies = dict(zip(found.indices.tolist(), found.n_vacancies.tolist(), strict=True))
    bad = {frame.index: frame for frame in found.bad}
    for i, lost in enumerate(LOST[name]):
        if name == "random" or (lost or 0) > 50:
            assert bad[i].reason == "too_many_removed"
            assert lost is None or bad[i].detail.startswith(
                f"{lost} atoms stand on no lattice site"
            )
        elif lost is None:
            assert vacancies[i] <= 12
        else:
            assert vacancies[i] == lost


def test_protocols_agree_on_perfect_structures() -> None:
    """Up to the five decimals of the published counts: 3 x 10^-6 in a component."""
    what = inputs("reference")
    corrected = AlloyAnalyser(alloy(), CORRECTED)
    ours = corrected.features(corrected.count_reference(what))
    theirs = analyser("fixed").features(analyser("fixed").count_reference(what))
    assert np.abs(ours.fingerprints - theirs.fingerprints).max() < 5.1e-6
    assert np.abs(ours.order - theirs.order).max() < 5e-4
    assert np.abs(ours.energies - theirs.energies).max() < 1e-6


def test_vacant_sites_are_counted_where_the_reference_has_fewer_atoms() -> None:
    """Seven atoms on eight sites, none of them lost: both protocols see the vacancy."""
    atoms = Atoms(numbers=[24, 24, 26, 24, 26, 26, 24], cell=CUBIC.cell, pbc=True)
    atoms.positions = CUBIC.positions[1:] + 0.01
    one = StructureSet.from_atoms([atoms])
    system: Any = AlloySystem("holed", CUBIC, toy().expansion, {"Cr": 4, "Fe": 3})
    for protocol in (PUBLISHED, CORRECTED):
        assert count(protocol, one, system).n_vacancies.tolist() == [1]
