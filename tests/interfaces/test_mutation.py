from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ase import Atoms
from ase.geometry import get_distances
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.generator import RandomInterfaces
from dismaiflow.interfaces.mutation import (
    OPERATORS,
    MutationSettings,
    Mutator,
    choose_parents,
)
from dismaiflow.interfaces.mutation_moves import Anatomy, Moves, least_share
from dismaiflow.interfaces.region import distance_matrix
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems.registry import get_system

N_PARENTS = 24

#: Its region has one cation and one anion, which are not exchanged.
IN_TINY = ("reinsert", "slide", "rattle", "cross")


@cache
def tiny():
    return InterfaceSystem.from_spec(get_system("tiny-li2o-licl"))


@cache
def random_interfaces():
    system = tiny()
    generator = RandomInterfaces(system.host, system.spec.interface, system.spec.species)
    return generator.generate(range(N_PARENTS), seed=5).structures


@cache
def parents():
    """Return them jolted: relaxed slabs are not perfect either."""
    made = random_interfaces()
    jolt = np.random.default_rng(0).normal(0, 0.05, made.positions.shape)
    return replace(made, positions=made.positions + jolt)


def energies():
    return np.random.default_rng(1).normal(-206, 0.5, N_PARENTS)


def only(name, **others):
    return Mutator(tiny(), MutationSettings(weights={name: 1}, **others))


def children(name, n=40, seed=3):
    return only(name).mutate(parents(), energies(), range(100, 100 + n), seed).structures


def short_pairs(atoms: Atoms, scale):
    """Return species and distance of all pairs below the scaled minimum distances, with ASE."""
    minima = tiny().spec.interface.region.min_distances
    symbols = atoms.get_chemical_symbols()
    distances = atoms.get_all_distances(mic=True)
    found = []
    for i, j in zip(*np.triu_indices(len(atoms), 1), strict=True):
        limit = minima.of(symbols[i], symbols[j]) * scale / minima.scale
        if distances[i, j] < limit - 1e-6:
            found.append(("".join(sorted(symbols[i] + symbols[j])), distances[i, j]))
    return found


def kept_atoms(child: Atoms, parent: Atoms):
    """Say which atoms of a child lie on one of the parent."""
    apart = get_distances(child.positions, parent.positions, cell=child.cell, pbc=True)[1]
    same = child.numbers[:, None] == parent.numbers
    return (np.where(same, apart, np.inf) < 1e-6).any(axis=1)


def lifted(child, index):
    """Return the parent as its children have it: the top plane of the substrate in its place."""
    parent = parents().atoms(index)
    height = tiny().host.substrate.height
    below = np.argsort(parent.positions[:, 2])[:8]
    # The planes of LiCl(100) hold 16 atoms; a child and its parent share the lowest.
    apart = np.sort(child.positions[:, 2])[:8].mean() - parent.positions[below, 2].mean()
    assert abs(apart) < 0.05 * height
    parent.positions[:, 2] += apart
    return parent


@pytest.mark.parametrize("name", IN_TINY)
def test_children_are_interfaces_of_the_system(name):
    made = children(name)
    first = parents()
    assert len(made) > 10
    numbers = made.numbers.reshape(len(made), -1)
    assert (numbers == first.numbers[:46]).all()
    assert (made.cells == tiny().host.cell).all()
    assert made.ids == tuple(map(str, made.labels["index"]))
    labels = made.labels
    assert set(first.labels) < set(labels)
    assert set(labels) - set(first.labels) == {"parent", "root", "second_root", "operator"}
    assert (labels["operator"] == OPERATORS.index(name)).all()
    assert labels["operator"].dtype == labels["parent"].dtype == np.int64
    assert np.array_equal(labels["parent"], labels["root"])
    assert ((labels["shift_a"] >= 0) & (labels["shift_b"] < 1)).all()
    fractions = made.positions @ np.linalg.inv(tiny().host.cell)
    assert fractions[:, :2].min() > -1e-7
    assert fractions[:, :2].max() < 1


@pytest.mark.parametrize("name", IN_TINY)
def test_what_moved_keeps_its_distances(name):
    made = children(name)
    assert (made.labels["distance_scale"] >= 0.5).all()
    for i, child in enumerate(made):
        before = short_pairs(parents().atoms(int(made.labels["parent"][i])), 0.75)
        for pair, distance in short_pairs(child, made.labels["distance_scale"][i]):
            # Jolted slabs have short pairs of their own; a move may part them.
            assert any(p == pair and d < distance + 1e-6 for p, d in before)


@pytest.mark.parametrize("name", ["reinsert", "rattle"])
def test_only_the_region_changes(name):
    made = children(name, 15)
    changed = []
    for i, child in enumerate(made):
        parent = lifted(child, int(made.labels["parent"][i]))
        kept = kept_atoms(child, parent)
        changed.append(int((~kept).sum()))
        # The slabs have 31 atoms; jolts may count one of them to the region.
        assert kept.sum() >= 29
    # Places anew: between a fifth and a half of about 15 atoms.
    if name == "reinsert":
        assert min(changed) >= 2
        assert max(changed) <= 9
    else:
        assert np.mean(changed) > 8


def test_the_film_slides_as_a_whole():
    made = children("slide", 20)
    cell = tiny().host.cell
    for i, child in enumerate(made):
        row = int(made.labels["parent"][i])
        parent = lifted(child, row)
        # The four atoms of the topmost plane, found by height in both.
        tops = [a.positions[np.argsort(a.positions[:, 2])[-5:]] for a in (child, parent)]
        step = (tops[0] - tops[1]) @ np.linalg.inv(cell)
        step -= np.rint(step)
        moves = step @ cell
        assert np.abs(moves - moves[0]).max() < 1e-6
        assert np.hypot(*moves[0, :2]) <= 1.5
        assert abs(moves[0, 2]) <= 1.5 / 4 + 1e-6
        assert np.hypot(*moves[0, :2]) > 0


def test_the_labels_move_with_the_film():
    # Perfect slabs, so that random interfaces tell where their films are.
    first = random_interfaces()
    made = only("slide").mutate(first, energies(), range(20), 3).structures
    rows = made.labels["parent"]
    top = np.array([[s.positions[:, 2].max() for s in part] for part in (made, first.select(rows))])
    grown = made.labels["thickness"] - first.labels["thickness"][rows]
    assert np.allclose(top[0] - top[1], grown, atol=1e-6)
    for i, (child, parent) in enumerate(zip(made, first.select(rows), strict=True)):
        ends = [a.positions[a.positions[:, 2].argmax()] for a in (child, parent)]
        moved = (ends[0] - ends[1]) @ np.linalg.inv(tiny().host.cell)
        for k, name in enumerate(("shift_a", "shift_b")):
            # The film of Li2O repeats itself five times, so its place is known modulo that.
            turn = 10 * (made.labels[name][i] - first.labels[name][rows[i]] - moved[k])
            assert abs(turn - np.rint(turn)) < 1e-4


def test_a_crossover_has_atoms_of_two_parents():
    made = children("cross", 30)
    guests = 0
    for i, child in enumerate(made):
        parent = lifted(child, int(made.labels["parent"][i]))
        kept = kept_atoms(child, parent).sum()
        assert kept >= 31 - 2
        guests += 46 - kept
    assert guests > len(made)


def test_unlike_ions_of_one_sign_trade_places():
    vectors = np.diag([12.0, 12.0])
    # Li, Sc, Cl, Cl, all farther apart than any limit.
    rows = np.array([[0.0, 0, 1], [0.5, 0, 1], [0, 0.5, 1], [0.5, 0.5, 1]])
    start = Anatomy(
        rows, np.array([0, 1, 2, 2]), np.ones(4, bool), np.zeros(4, bool), 4.0, np.zeros(2)
    )
    signs, none = np.array([1, 1, -1]), np.zeros((1, 2))
    moves = Moves(vectors, np.full((3, 3), 2.0), signs, np.arange(3), none, 6.0, 0.1, 10, 1)
    moved = moves.exchange(start, 3, np.random.default_rng(0))
    assert moved.share == 1
    assert np.array_equal(moved.anatomy.rows, rows[[1, 0, 2, 3]])
    without = replace(start, codes=np.array([0, 0, 2, 2]))
    assert moves.exchange(without, 3, np.random.default_rng(0)) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_the_least_share_is_that_of_ase(seed):
    rng = np.random.default_rng(seed)
    vectors = np.array([[6.0, 0.0], [2.0, 7.0]])
    rows = rng.random((9, 3)) * [1, 1, 8]
    codes, bodies = rng.integers(0, 3, 9), rng.integers(0, 4, 9)
    limits = rng.uniform(1, 3, (3, 3))
    limits = limits + limits.T
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = vectors, 100.0
    points = np.column_stack([rows[:, :2] @ vectors, rows[:, 2]])
    shares = get_distances(points, cell=cell, pbc=(1, 1, 0))[1] / limits[np.ix_(codes, codes)]
    apart = bodies[:, None] != bodies
    expected = shares[apart].min() if apart.any() else np.inf
    before = rows + np.arange(9)[:, None] * [0, 0, 50]
    assert least_share(rows, before, codes, bodies, vectors, limits) == pytest.approx(expected)


def test_only_what_came_closer_counts():
    vectors, limits = np.diag([10.0, 10.0]), np.full((1, 1), 2.0)
    codes, bodies = np.zeros(3, np.int64), np.arange(3)
    # 1.5 Å apart along a, the third far above; 1.4 Å, or 1.6 Å, before.
    rows = np.array([[0.0, 0, 0], [0.15, 0, 0], [0, 0, 9]])
    for was, share in ((0.14, 4.5), (0.16, 0.75)):
        before = np.array([[0.0, 0, 0], [was, 0, 0], [0, 0, 9.1]])
        found = least_share(rows, before, codes, bodies, vectors, limits)
        assert found == pytest.approx(share)


def test_children_depend_on_nothing_but_seed_index_and_parents():
    mutator = Mutator(tiny())
    whole = mutator.mutate(parents(), energies(), range(50, 70), 9).structures
    parts = [mutator.mutate(parents(), energies(), i, 9) for i in (range(50, 53), range(53, 70))]
    joined = StructureSet.concatenate([part.structures for part in parts])
    assert whole.to_bytes() == joined.to_bytes()
    order = np.random.default_rng(2).permutation(N_PARENTS)
    again = mutator.mutate(parents().select(order), energies()[order], range(50, 70), 9)
    assert again.structures.to_bytes() == whole.to_bytes()
    other = mutator.mutate(parents(), energies(), range(50, 70), 10).structures
    assert other.content_hash != whole.content_hash


def test_wrapped_or_lifted_parents_have_the_same_children():
    first = random_interfaces()
    c = tiny().host.cell[2, 2]
    positions = first.positions.copy()
    positions[:, 2] = (positions[:, 2] + 0.8 * c) % c
    high = replace(first, positions=positions)
    one, other = (Mutator(tiny()).mutate(s, energies(), range(10), 4) for s in (first, high))
    assert np.allclose(one.structures.positions, other.structures.positions, atol=1e-6)


def test_a_film_that_is_lost_in_the_region():
    # All atoms above the substrate at random: no site of the film is found where it was.
    made = parents()
    rng = np.random.default_rng(0)
    positions = made.positions.copy()
    high = positions[:, 2] > tiny().host.substrate.height + 0.5
    positions[high] += rng.normal(0, 0.9, (int(high.sum()), 3))
    wrecks = replace(made, positions=positions)
    report = Mutator(tiny()).mutate(wrecks, energies(), range(40), 0).report
    assert report.n_made + len(report.failures) == report.n_requested == 40
    assert report.n_made > 30


def test_parents_by_hand():
    #             a     a     b     a     c    failed d
    values = [-5.0, -4.0, -3.0, -4.5, -2.0, np.nan, -1.0]
    roots = [0, 0, 2, 0, 4, 5, 6]
    few = MutationSettings(least_pool=4, per_family=2, least_family=4)
    chosen = choose_parents(values, range(7), roots, few)
    # Two of family 0, then the others by energy; ranks 4, 3, 2, 1 of 10.
    assert chosen.rows.tolist() == [0, 3, 2, 4]
    assert chosen.weights == pytest.approx([0.4, 0.3, 0.2, 0.1])
    # A family of three is full, if three is the limit.
    full = MutationSettings(least_pool=4, per_family=2, least_family=3)
    assert choose_parents(values, range(7), roots, full).rows.tolist() == [2, 4, 6]
    # Where all are full, they go on.
    assert choose_parents([-1.0] * 4, range(4), [0] * 4, full).rows.tolist() == [0, 1]
    assert choose_parents([np.nan], [0], [0]).rows.size == 0


def test_the_pool_grows_with_what_was_relaxed():
    values = np.arange(200.0)
    chosen = choose_parents(values, range(200), range(200))
    # A quarter of all; the first weighs 50 of 1275.
    assert chosen.rows.tolist() == list(range(50))
    assert chosen.weights[0] == pytest.approx(50 / 1275)


def test_every_parent_has_its_share_in_any_run():
    pool = choose_parents(energies(), range(N_PARENTS), range(N_PARENTS))
    made = Mutator(tiny()).mutate(parents(), energies(), range(300, 400), 1).structures
    counts = Counter(made.labels["parent"].tolist())
    assert sum(counts.values()) == 100
    for row, weight in zip(pool.rows.tolist(), pool.weights, strict=True):
        assert abs(counts[row] - 100 * weight) <= 4


def test_roots_are_passed_on():
    labelled = parents().with_labels(parents().labels | {"root": np.arange(N_PARENTS) // 2})
    made = Mutator(tiny()).mutate(labelled, energies(), range(20), 0).structures
    assert np.array_equal(made.labels["root"], made.labels["parent"] // 2)


def test_limits_are_those_of_the_spec():
    # 0.75 (1.40 + 1.81) Å for O-Cl.
    species = tiny().spec.species
    limits = distance_matrix(species, tiny().spec.interface.region.min_distances)
    assert limits[species.index("O"), species.index("Cl")] == pytest.approx(0.75 * 3.21)


def test_nobody_to_start_from():
    with pytest.raises(DismaiError, match="none of 24 relaxed structures has a finite energy"):
        Mutator(tiny()).mutate(parents(), np.full(N_PARENTS, np.nan), range(3), 0)


def test_parents_of_another_system():
    strange = replace(parents(), cells=parents().cells * 1.1)
    with pytest.raises(DismaiError, match="is no tiny-li2o-licl"):
        Mutator(tiny()).mutate(strange, energies(), range(3), 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": {"shake": 1}}, "unknown operator 'shake'"),
        ({"weights": {"slide": 0}}, "not all 0"),
        ({"weights": {"slide": -1}}, "0 or more"),
        ({"pool_share": 0.0}, "pool_share must lie above 0"),
        ({"reinserted": (0.5, 0.2)}, "the lower one first"),
        ({"slid": 0.0}, "slid must be above 0"),
    ],
)
def test_settings_out_of_range(values, message):
    with pytest.raises(DismaiError, match=message):
        MutationSettings(**values)
