"""Regions of interfaces beside those of the training structures (paper, section 2.5)."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.benchmark.region_analysis import RDF_WIDTH, RegionAnalyser, RegionPlan
from dismaiflow.benchmark.region_energies import choose, energy_distribution, rate_sets
from dismaiflow.benchmark.region_evaluation import (
    compare_curves,
    compare_fingerprints,
    compare_motifs,
    count_atoms,
    count_bonds,
)
from dismaiflow.benchmark.region_jobs import RegionEvaluationMaker
from dismaiflow.benchmark.region_schemas import RegionEvaluationDoc, SetQuestion
from dismaiflow.benchmark.structure_features import StructureFeatures
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_generator, built_system
from dismaiflow.metrics.motifs import MOTIF_NAMES, MotifAnalyser
from dismaiflow.store.structures import put_structures
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobflow import JobStore

    from dismaiflow.structures.structure_set import StructureSet
    from dismaiflow.systems import SystemSpec

    from .conftest import Run

TETRAHEDRAL = MOTIF_NAMES.index("tetrahedral CN_4")
OCTAHEDRAL = MOTIF_NAMES.index("octahedral CN_6")

#: One cation with two anions, for features made by hand.
PLAN = RegionPlan(("Li", "O", "Cl"), ("Li",), ("O", "Cl"), {}, (("Li", "O"),))


@cache
def tiny() -> SystemSpec:
    """Return the small interface."""
    return get_system("tiny-li2o-licl")


def interfaces(n: int, seed: int, noise: float = 0.15) -> StructureSet:
    """Return random interfaces, rattled, whose regions hold 10 Li and 5 O."""
    made = built_generator(tiny()).generate(range(n), seed=seed).structures
    moves = np.random.default_rng(seed).normal(0, noise, made.positions.shape)
    return replace(made, positions=made.positions + moves, labels={})


def made_features(**arrays: Any) -> StructureFeatures:
    """Return features that were written by hand."""
    found = {name.replace("__", ":"): np.asarray(values) for name, values in arrays.items()}
    n = len(next(iter(found.values())))
    return StructureFeatures(np.arange(n), found, [])


def test_only_cations_of_the_regions_phase_are_centres() -> None:
    """Co is in LiCoO2 alone; O, which Li3ScCl6 lacks, is counted first."""
    plan = RegionPlan.from_spec(get_system("lsc-lco"))
    assert (plan.centres, plan.anions) == (("Li", "Sc"), ("O", "Cl"))
    assert {("Sc", "O"), ("Sc", "Sc"), ("Li", "Li")} <= set(plan.pairs)  # Fig. S34
    with pytest.raises(DismaiError, match="is no interface"):
        RegionPlan.from_spec(get_system("amorphous-si"))


def test_features_are_those_of_the_atoms_that_the_generator_placed() -> None:
    """The region is known from the heights at which atoms were placed, before they moved."""
    spec, host = tiny(), built_system(tiny()).host
    made = built_generator(spec).generate(range(3), seed=8).structures
    moved = interfaces(3, 8)
    plan = RegionPlan.from_spec(spec)
    motifs = MotifAnalyser(plan.species, plan.centres, plan.oxidation_states, plan.anions)
    for i in range(3):
        part = made.slice_of(i)
        heights = made.positions[part, 2] - host.substrate.height
        region = (heights > 1e-6) & (heights < made.labels["thickness"][i] - 1e-6)
        numbers, positions, cell = moved.numbers[part], moved.positions[part], moved.cells[i]
        found = RegionAnalyser(plan, host).analyse(numbers, positions, cell)
        every = motifs.analyse(numbers, positions, cell)
        inside = region[every.sites]
        assert found["region:Li"].sum() == inside.sum() == 10
        assert np.allclose(found["mean:Li"], every.fingerprints[inside].mean(axis=0), atol=1e-12)
        ours = sorted(found["counts:Li"][found["region:Li"]].tolist())
        assert ours == sorted(every.counts[inside].tolist())
        # Fully written out: every Li of the region, every O of the cell and its images.
        images = np.array([[a, b, 0] for a in (-2, -1, 0, 1, 2) for b in (-2, -1, 0, 1, 2)])
        around = positions[region & (numbers == 3)]
        others = (positions[numbers == 8][:, None] + images @ cell).reshape(-1, 3)
        lengths = np.linalg.norm(around[:, None] - others, axis=-1).ravel()
        shells = np.histogram(lengths, np.arange(101) * RDF_WIDTH)[0] / len(around)
        edges = np.arange(101) * RDF_WIDTH
        density = (numbers == 8).sum() / np.linalg.det(cell)
        expected = shells / (4 / 3 * np.pi * np.diff(edges**3) * density)
        assert np.allclose(found["pair:Li-O"], expected, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 5), st.integers(0, 2**32), st.booleans())
def test_the_order_of_atoms_changes_nothing(index: int, seed: int, within: bool) -> None:
    """Neither within a species nor among all: not a bit."""
    structures = interfaces(6, 2)
    part, rng = structures.slice_of(index), np.random.default_rng(seed)
    numbers, positions = structures.numbers[part], structures.positions[part]
    order = rng.permutation(len(numbers))
    if within:
        order = np.arange(len(numbers))
        for z in np.unique(numbers):
            order[numbers == z] = rng.permutation(order[numbers == z])
        assert (numbers[order] == numbers).all()
    analyser = RegionAnalyser(RegionPlan.from_spec(tiny()), built_system(tiny()).host)
    before = analyser.analyse(numbers, positions, structures.cells[index])
    after = analyser.analyse(numbers[order], positions[order], structures.cells[index])
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert np.array_equal(values, after[name], equal_nan=True), name


def test_what_has_no_slabs_has_no_region() -> None:
    structures = interfaces(1, 0)
    analyser = RegionAnalyser(RegionPlan.from_spec(tiny()), built_system(tiny()).host)
    cell = structures.cells[0]
    points = np.random.default_rng(0).random((46, 3)) * [1, 1, 0.6] @ cell
    with pytest.raises(DismaiError, match=r"no region can be found: \d+ % of the sites"):
        analyser.analyse(structures.numbers[:46], points, cell)
    with pytest.raises(DismaiError, match="30 atoms cannot cover the 31 sites"):
        analyser.analyse(structures.numbers[:30], points[:30], cell)


def test_distance_and_similarity_by_hand() -> None:
    """Means (3, 4) and (3, 0): 4 apart, cosine 3/5; a structure without Li does not count."""
    training = made_features(mean__Li=[[2.0, 0.0], [4.0, 0.0]])
    low = made_features(mean__Li=[[3.0, 3.0], [3.0, 5.0], [np.nan, np.nan]])
    one = made_features(mean__Li=[[0.0, 2.0]])
    none = made_features(mean__Li=[[np.nan, np.nan]])
    sets = {"training": training, "low": low, "one": one, "none": none}
    found = compare_fingerprints(PLAN, sets)["Li"]
    assert list(found) == ["low", "one", "none"]
    assert found["low"].distance.value == pytest.approx(4)
    assert found["low"].cosine.value == pytest.approx(3 / 5)
    # Bootstrap means are (3, 3), (3, 4) or (3, 5): pivotal interval 2 x 4 - 5 to 2 x 4 - 3.
    assert found["low"].distance.ci95 == pytest.approx((3, 5))
    cosines = 3 / np.sqrt(18), 3 / np.sqrt(34)
    assert found["low"].cosine.ci95 == pytest.approx([6 / 5 - x for x in cosines])
    assert found["one"].distance.value == pytest.approx(np.sqrt(13))
    assert (found["one"].cosine.value, found["one"].cosine.ci95) == (0.0, None)
    assert (found["none"].distance.value, found["none"].distance.ci95) == (None, None)


def test_motifs_and_bonds_of_the_region_by_hand() -> None:
    """Two structures of three Li, of which the third lies in a slab and does not count."""
    inside = [[True, True, False]] * 2
    training = made_features(
        region__Li=inside,
        codes__Li=[[TETRAHEDRAL, OCTAHEDRAL, OCTAHEDRAL]] * 2,
        counts__Li=[[[1, 3], [6, 0], [0, 6]]] * 2,
    )
    low = made_features(
        region__Li=inside,
        codes__Li=[[TETRAHEDRAL] * 3, [TETRAHEDRAL, OCTAHEDRAL, OCTAHEDRAL]],
        counts__Li=[[[1, 3], [2, 2], [0, 4]], [[1, 3], [6, 0], [0, 6]]],
    )
    sets = {"training": training, "low": low}
    rows = {row.motif: row for row in compare_motifs(PLAN, sets)["Li"]}
    assert set(rows) == {"tetrahedral CN_4", "octahedral CN_6"}
    four = rows["tetrahedral CN_4"]
    assert (four.share["training"].value, four.share["low"].value) == (50, 75)
    assert [one.value for one in four.by_count["O"]["low"]] == [0, 50, 25]
    assert [one.value for one in four.by_count["O"]["training"]] == [0, 50]
    assert [one.value for one in four.by_count["Cl"]["low"]] == [0, 0, 25, 50]
    # Structures with 100 and 50 %: bootstrap means 50, 75 or 100, mirrored at 75.
    assert (four.share["low"].low, four.share["low"].high) == (50, 100)
    assert (four.share["training"].low, four.share["training"].high) == (50, 50)
    bonds = {row.neighbour: row.count for row in count_bonds(PLAN, sets)}
    # Low: (1 + 2) / 2 and (1 + 6) / 2 bonds to O.
    assert bonds["O"]["low"].value == pytest.approx((1.5 + 3.5) / 2)
    assert (bonds["O"]["low"].low, bonds["O"]["low"].high) == pytest.approx((1.5, 3.5))
    assert bonds["Cl"]["training"].value == pytest.approx(1.5)
    assert count_atoms(PLAN, low)["Li"].value == 2


def test_curves_leave_out_structures_without_such_atoms() -> None:
    sets = {
        "training": made_features(**{"pair:Li-O": [[1.0, 3.0], [3.0, 5.0]]}),
        "low": made_features(**{"pair:Li-O": [[2.0, 2.0], [np.nan, np.nan]]}),
    }
    (curve,) = compare_curves(PLAN, sets)
    assert curve.r == pytest.approx([0.05, 0.15])
    assert (curve.sets["training"].mean, curve.sets["training"].low) == ([2, 4], [1, 3])
    assert (curve.sets["low"].mean, curve.sets["low"].low) == ([2, 2], [])


def energies(total: list[float], interface: list[float] | None = None) -> StructureFeatures:
    """Return energies of structures of 10 atoms and 16.0218 Å^2: 1 eV is 1 J/m^2."""
    n = len(total)
    return made_features(
        energy=total,
        interface_energy=np.full(n, np.nan) if interface is None else interface,
        area=[16.0218] * n,
        n_atoms=[10.0] * n,
    )


def test_interface_energies_by_hand() -> None:
    """The lowest training structure stands at the cut less the window, -0.4 J/m^2."""
    sets = {"training": energies([-50.0, -49.8]), "low": energies([-50.1, -49.6, -49.5])}
    rated = rate_sets(tiny(), sets, None)
    assert rated.zero == pytest.approx(-4.96)
    assert rated.energies["low"] == pytest.approx([-0.5, 0.0, 0.1], abs=1e-9)
    rated.energies["low"][1] = 0.0  # at the cut, which is low
    assert choose(rated, "low", sets["low"], "low", 0.0).tolist() == [0, 1]
    assert choose(rated, "low", sets["low"], "high", 0.0).tolist() == [2]
    assert choose(rated, "low", sets["low"], "all", 0.0).tolist() == [0, 1, 2]
    shown = energy_distribution(rated, 0.0)
    assert shown is not None
    assert shown.sets["low"].percent_low == pytest.approx(200 / 3)
    assert sum(shown.sets["low"].shares) == pytest.approx(1, abs=1e-5)


def test_labels_of_the_training_set_tell_the_reference_energy() -> None:
    """Both labels: (-50 + 0.2) / 10 eV per atom counts as 0; interface energies stand as given."""
    sets = {
        "training": energies([-50.0, -49.9], [-0.2, -0.1]),
        "low": energies([-50.0, -49.0]),
        "high": energies([0.0], [0.7]),
    }
    rated = rate_sets(tiny(), sets, None)
    assert rated.zero == pytest.approx(-4.98)
    assert rated.energies["low"] == pytest.approx([-0.2, 0.8])
    assert rated.energies["high"].tolist() == [0.7]


def test_unknown_energies_are_asked_for() -> None:
    nothing = energies([np.nan])
    rated = rate_sets(tiny(), {"training": nothing, "low": nothing}, None)
    assert energy_distribution(rated, 0.0) is None
    with pytest.raises(DismaiError, match=r"'low' cannot be divided by energy.*--as-is"):
        choose(rated, "low", nothing, "low", 0.0)


def evaluate(
    run_flow: Run, store: JobStore, sets: dict[str, StructureSet], **more: Any
) -> RegionEvaluationDoc:
    """Run a whole evaluation."""
    stored = {name: put_structures(store, one) for name, one in sets.items()}
    training = stored.pop("training")
    flow = RegionEvaluationMaker().make(tiny(), training, stored, **more)
    return RegionEvaluationDoc.model_validate(run_flow(flow, store))


def labelled(structures: StructureSet, values: list[float]) -> StructureSet:
    """Return structures with interface energies."""
    return structures.with_labels({"interface_energy": np.array(values)})


def permuted(structures: StructureSet, seed: int) -> StructureSet:
    """Return the same structures, the atoms of each species in another order."""
    rng, order = np.random.default_rng(seed), np.arange(len(structures.numbers))
    for i in range(len(structures)):
        atoms = order[structures.slice_of(i)]
        numbers = structures.numbers[structures.slice_of(i)]
        for z in np.unique(numbers):
            atoms[numbers == z] = rng.permutation(atoms[numbers == z])
    return replace(structures, positions=structures.positions[order])


def contents(document: RegionEvaluationDoc) -> dict[str, Any]:
    """Return a document without the hashes of its sets."""
    found: dict[str, Any] = json.loads(document.model_dump_json())
    for one in found["sets"].values():
        del one["content_hash"]
    return found


def test_a_whole_evaluation(
    embedded: JobStore, run_flow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad structures are counted by reason; the order of atoms changes nothing."""
    monkeypatch.setenv("DISMAI_PROCESSES", "1")
    low = interfaces(5, 11)
    low.positions[low.slice_of(1)] = np.nan
    wreck = np.random.default_rng(0).random((46, 3)) * [1, 1, 0.6] @ low.cells[2]
    low.positions[low.slice_of(2)] = wreck
    sets = {
        "training": labelled(interfaces(6, 10), [-0.3] * 6),
        "low": labelled(low, [-0.2, -0.2, -0.1, 0.3, -0.1]),
        "high": labelled(interfaces(4, 12), [0.2, 0.4, -0.1, 0.3]),
    }
    asked = {
        "low": SetQuestion(name="model", choice="low", unreadable={"unreadable": 2}),
        "high": SetQuestion(name="random", choice="high"),
    }
    found = evaluate(run_flow, embedded, sets, asked=asked)
    assert found.sets["low"].failures == {"not_finite": 1, "analysis_failed": 1, "unreadable": 2}
    counted = found.sets["low"]
    assert (counted.n_structures, counted.n_evaluated, counted.n_other_energy) == (7, 2, 1)
    assert (found.sets["high"].n_evaluated, found.sets["high"].n_other_energy) == (3, 1)
    assert {one.atoms["Li"].value for one in found.sets.values()} == {10}
    assert list(found.fingerprints["Li"]) == ["low", "high"]
    value = found.fingerprints["Li"]["low"].distance
    assert value.value is not None
    assert value.ci95 is not None
    assert found.energies is not None
    assert found.energies.sets["high"].percent_low == 25
    assert {row.neighbour for row in found.bonds} == {"Cl", "O"}
    assert len(found.curves) == 3
    again = evaluate(
        run_flow,
        embedded,
        {name: permuted(one, i) for i, (name, one) in enumerate(sets.items())},
        asked=asked,
    )
    assert again.sets["training"].content_hash != found.sets["training"].content_hash
    assert contents(again) == contents(found)


def test_the_training_set_beside_itself(
    embedded: JobStore, run_flow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing apart; energies are not needed where all structures are looked at."""
    monkeypatch.setenv("DISMAI_PROCESSES", "1")
    same = interfaces(4, 3)
    found = evaluate(run_flow, embedded, {"training": same, "low": same})
    assert found.fingerprints["Li"]["low"].distance.value == 0
    assert found.fingerprints["Li"]["low"].cosine.value == pytest.approx(1)
    assert found.energies is None
    assert "energies" in found.missing
    for row in found.motifs["Li"]:
        assert row.share["low"] == row.share["training"]


def test_a_set_may_not_be_called_training() -> None:
    with pytest.raises(DismaiError, match="cannot be called 'training'"):
        RegionEvaluationMaker().make(tiny(), None, {"training": None})  # type: ignore[arg-type,dict-item]
