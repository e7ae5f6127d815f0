"""Blocks: their size, what is changed at the faces, where they come from."""

from __future__ import annotations

from dataclasses import replace

import ase.io
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.amorphous.parent import ParentBox
from dismaiflow.amorphous.slicing import (
    SliceSettings,
    block_lengths,
    check_size,
    slice_blocks,
    sliced_sets,
    split_zones,
)
from dismaiflow.errors import DismaiError
from dismaiflow.structures.dataset import extxyz_text
from dismaiflow.structures.read import read_structures
from dismaiflow.structures.structure_set import StructureSet

SETTINGS = SliceSettings(skin=2.35, min_distance=1.76)
SEED = np.random.SeedSequence(7)
SI = {"Si": 256}


def plain_cut(parent, offset, edges):
    """Cut by numpy alone: the atoms inside and their places."""
    local = np.mod(parent.positions - offset, parent.lengths)
    inside = np.flatnonzero((local < edges).all(axis=1))
    return inside, local[inside]


def depth(places, edges):
    """Distance from the nearest face."""
    return np.minimum(places, edges - places).min(axis=1)


def offsets_of(blocks):
    return np.column_stack([blocks.structures.labels[f"offset_{axis}"] for axis in "xyz"])


def periodic_distances(places, others, edges):
    d = np.abs(places[:, None] - others[None])
    return np.linalg.norm(np.minimum(d, edges - d), axis=-1)


def test_lengths_of_the_paper():
    """128.5 Å and 100,000 atoms: (256 / 100000)^(1/3) = 0.1367981, by hand."""
    found = block_lengths(np.array([128.5, 128.5, 64.25]), 100_000, 256)
    assert found == pytest.approx([17.57856, 17.57856, 8.78928], abs=2e-5)
    assert block_lengths(np.full(3, 40.0), 2048, 256).tolist() == [20.0, 20.0, 20.0]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1.3, 0.8, 1.1)])
def test_atoms_change_only_at_the_cut_faces(gas, shape):
    parent = gas(4000, shape=shape)
    blocks = slice_blocks(parent, SI, 40, SETTINGS, SEED)
    changed = 0
    for i in range(40):
        edges = np.diagonal(blocks.structures.cells[i])
        inside, local = plain_cut(parent, offsets_of(blocks)[i], edges)
        places = blocks.structures.positions[blocks.structures.slice_of(i)]
        index = blocks.parent_index[i]
        kept = index >= 0
        # What was kept lies where the plain cut has it,
        where = np.searchsorted(inside, index[kept])
        assert (inside[where] == index[kept]).all()
        np.testing.assert_allclose(places[kept], local[where], atol=6e-9)
        # what is gone or new lay within the skin,
        gone = np.setdiff1d(inside, index)
        assert (depth(local[np.searchsorted(inside, gone)], edges) < SETTINGS.skin).all()
        assert (depth(places[~kept], edges) < SETTINGS.skin + 1e-8).all()
        # and no more was done than the count asked for.
        assert len(places) == 256
        assert len(gone) == blocks.structures.labels["n_removed"][i] == max(len(inside) - 256, 0)
        assert (~kept).sum() == blocks.structures.labels["n_added"][i] == max(256 - len(inside), 0)
        changed += len(gone) + int((~kept).sum())
    assert changed > 100


def test_added_atoms_keep_their_distance_across_the_boundary(gas):
    parent = gas(4000, seed=2)
    blocks = slice_blocks(parent, SI, 30, SETTINGS, SEED)
    edges = np.diagonal(blocks.structures.cells[0])
    added = 0
    for i in range(30):
        places = blocks.structures.positions[blocks.structures.slice_of(i)]
        for atom in np.flatnonzero(blocks.parent_index[i] < 0):
            others = np.delete(places, atom, axis=0)
            assert periodic_distances(places[atom : atom + 1], others, edges).min() > 1.76 - 1e-7
            added += 1
        assert blocks.closest_pair[i] == pytest.approx(
            np.sort(periodic_distances(places, places, edges)[np.triu_indices(256, 1)])[0], abs=1e-6
        )
    assert added > 50
    assert (blocks.min_distance == 1.76).all()


def quarters(counts):
    """Atoms below the near x face of a cube of 20 Å, so many in each quarter, far from edges."""
    places = [
        [1.0, 5.0 + 10.0 * (quarter // 2) + 0.3 * k - 0.1 * count, 5.0 + 10.0 * (quarter % 2)]
        for quarter, count in enumerate(counts)
        for k in range(count)
    ]
    return np.array(places), np.full(3, 20.0)


def whole_block(places, lengths, n_target, seed):
    """Cut a block as large as its parent, so that nothing but the target decides."""
    from dismaiflow.amorphous.slicing_kernel import fill

    n = len(places)
    return fill(
        np.random.default_rng(seed),
        np.arange(n),
        places,
        np.zeros(n, dtype=np.int64),
        lengths,
        np.array([n_target]),
        np.array([2, 2]),
        2.0,
        0.5,
    )


@pytest.mark.parametrize("densest", range(4))
def test_atoms_leave_the_densest_quarter(densest):
    counts = [3, 3, 3, 3]
    counts[densest] = 8
    places, lengths = quarters(counts)
    # 5 more than in the others: the first five removed are all from it.
    for seed in range(5):
        origin, *_ = whole_block(places, lengths, len(places) - 5, seed)
        gone = np.setdiff1d(np.arange(len(places)), origin)
        first = sum(counts[:densest])
        assert ((gone >= first) & (gone < first + 8)).all()


def test_a_removal_counts_again():
    """Quarters of 5 and 4 atoms: after each removal the fuller one gives, down to 2 and 2."""
    places, lengths = quarters([5, 4, 0, 0])
    for seed in range(20):
        origin, *_ = whole_block(places, lengths, 4, seed)
        left = np.sort(origin)
        assert ((left < 5).sum(), (left >= 5).sum()) == (2, 2)


@pytest.mark.parametrize("emptiest", range(4))
def test_atoms_join_the_emptiest_quarter(emptiest):
    """All faces but one quarter of the near x face hold atoms."""
    rng = np.random.default_rng(1)
    lengths = np.full(3, 20.0)
    places = rng.random((1500, 3)) * 20
    places = places[depth(places, lengths) < 2.0]
    i, j = divmod(emptiest, 2)
    low = np.array([0.0, 10.0 * i, 10.0 * j])
    high = low + np.array([2.0, 10.0, 10.0])
    free = ((places >= low) & (places < high)).all(axis=1)
    places = places[~free]
    for seed in range(5):
        origin, found, *_ = whole_block(places, lengths, len(places) + 3, seed)
        added = found[origin < 0]
        assert len(added) == 3
        assert ((added >= low) & (added < high)).all()


def test_equal_regions_take_turns():
    """In an empty block each of the 24 regions is as good as another: all six faces are hit."""
    found = whole_block(np.empty((0, 3)), np.full(3, 20.0), 200, 0)[1]
    per_face = [
        int((found[:, axis] < 2).sum() if side == 0 else (found[:, axis] > 18).sum())
        for axis in range(3)
        for side in range(2)
    ]
    assert min(per_face) > 20


def test_crowded_faces_take_atoms_all_the_same():
    """Where nothing is free at the distance asked for, it is lowered and said."""
    from dismaiflow.amorphous.slicing_kernel import fill

    origin, _, _, n_added, _, allowed, _ = fill(
        np.random.default_rng(0), np.arange(1), np.full((1, 3), 5.0), np.zeros(1, dtype=np.int64),
        np.full(3, 10.0), np.array([3]), np.array([2, 2]), 2.0, 30.0,
    )  # fmt: skip
    assert n_added == 2
    assert allowed < 9
    assert len(origin) == 3


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1200, 3000),
    shape=st.tuples(*[st.floats(0.8, 1.2)] * 3),
    oxygen=st.floats(0.5, 0.8),
)
def test_every_block_has_the_composition(gas, seed, n, shape, oxygen):
    parent = gas(n, seed, shape, oxygen)
    silica = {"Si": 40, "O": 80}
    blocks = slice_blocks(parent, silica, 3, SETTINGS, np.random.SeedSequence(seed))
    numbers = blocks.structures.numbers.reshape(3, 120)
    assert (numbers == [14] * 40 + [8] * 80).all()
    index = blocks.parent_index
    assert (parent.numbers[index[index >= 0]] == numbers[index >= 0]).all()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in index)
    places = blocks.structures.positions.reshape(3, 120, 3)
    assert (places >= 0).all()
    assert (places < np.diagonal(blocks.structures.cells[0])).all()


def test_a_block_depends_on_its_number_only(gas):
    parent = gas(3000)
    whole = slice_blocks(parent, SI, 6, SETTINGS, SEED)
    for first, n in ((0, 2), (3, 3)):
        part = slice_blocks(parent, SI, n, SETTINGS, SEED, first=first)
        wanted = whole.structures.select(np.arange(first, first + n))
        assert part.structures.content_hash == wanted.content_hash
    other = slice_blocks(parent, SI, 6, SETTINGS, np.random.SeedSequence(8))
    assert other.structures.content_hash != whole.structures.content_hash


def test_moving_the_parent_by_its_period_changes_nothing(gas):
    parent = gas(3000)
    moved = replace(parent, positions=parent.positions + [1, -2, 3] * parent.lengths)
    ours, theirs = (slice_blocks(p, SI, 4, SETTINGS, SEED) for p in (parent, moved))
    assert (ours.parent_index == theirs.parent_index).all()


def test_the_hash_survives_a_file(gas, tmp_path):
    structures = slice_blocks(gas(3000), SI, 5, SETTINGS, SEED).structures
    path = tmp_path / "blocks.extxyz"
    path.write_text(extxyz_text(structures))
    assert read_structures(path).structures.content_hash == structures.content_hash
    assert len(ase.io.read(path, ":")) == 5


def cut_sets(parent, split, n=(60, 15), fraction=0.8):
    counts = dict(zip(("train", "val"), n, strict=True))
    return sliced_sets(parent, SI, counts, SETTINGS, split, fraction, SEED)


@pytest.mark.parametrize("n_parent", [2048, 4096, 12_000])
def test_the_disjoint_split_shares_no_atom(gas, n_parent):
    sets = cut_sets(gas(n_parent), "disjoint")
    train, val = (set(sets[name].parent_index[sets[name].parent_index >= 0]) for name in sets)
    assert len(train) > 500
    assert len(val) > 200
    assert train & val == set()


def test_the_random_split_shares_atoms(gas):
    sets = cut_sets(gas(4096), "random")
    train, val = (set(sets[name].parent_index.ravel()) - {-1} for name in sets)
    assert len(train & val) > 0.5 * len(val)


def test_zones_share_the_length_as_the_sets_share_the_blocks():
    lengths, edges = np.full(3, 100.0), np.full(3, 10.0)
    zones = split_zones(lengths, edges, 0.8, SEED)
    assert (zones["train"].length, zones["val"].length) == pytest.approx((80, 20))
    assert zones["val"].start == pytest.approx(zones["train"].start + 80)
    # A block and a quarter at least, 25 of 100 for blocks of 20.
    zones = split_zones(lengths, np.full(3, 20.0), 0.8, SEED)
    assert (zones["train"].length, zones["val"].length) == pytest.approx((75, 25))
    # Blocks of 40 leave 20, which are shared as the structures are: 40 + 4 and 40 + 16.
    zones = split_zones(lengths, np.full(3, 40.0), 0.8, SEED)
    assert (zones["train"].length, zones["val"].length) == pytest.approx((56, 44))
    zones = split_zones(lengths, np.full(3, 40.0), 0.1, SEED)
    assert (zones["train"].length, zones["val"].length) == pytest.approx((42, 58))


def test_offsets_are_uniform_over_the_parent(gas):
    parent = gas(4096)
    offsets = offsets_of(cut_sets(parent, "random", (400, 1))["train"]) / parent.lengths
    for axis in range(3):
        counts, _ = np.histogram(offsets[:, axis], np.linspace(0, 1, 5))
        # 100 each, standard deviation 8.7
        assert np.abs(counts - 100).max() < 40


@pytest.mark.parametrize(
    ("n_parent", "message"), [(2000, "1.98 blocks long.*larger parent.*or the random split")]
)
def test_a_parent_too_small_to_divide(gas, n_parent, message):
    with pytest.raises(DismaiError, match=message):
        cut_sets(gas(n_parent), "disjoint")
    with pytest.raises(DismaiError, match=r"parent\.n_atoms"):
        check_size(n_parent, 256)
    check_size(2048, 256)
    assert len(cut_sets(gas(n_parent), "random", (2, 1))["train"]) == 2


def test_other_senseless_requests(gas):
    parent = gas(2500)
    with pytest.raises(DismaiError, match="less than one block of 3000"):
        slice_blocks(parent, {"Si": 3000}, 1, SETTINGS, SEED)
    with pytest.raises(DismaiError, match=r"key 'block.skin' is 9 Å"):
        slice_blocks(parent, SI, 1, SliceSettings(9.0, 1.0), SEED)
    # Oxygen sits in the middle only, and there is too much of it.
    places = np.concatenate([np.random.default_rng(0).random((200, 3)) * 20, np.full((9, 3), 10.0)])
    odd = ParentBox(np.array([14] * 200 + [8] * 9), places, np.full(3, 20.0))
    with pytest.raises(DismaiError, match="too many O atoms"):
        slice_blocks(odd, {"Si": 208, "O": 1}, 1, SliceSettings(0.1, 0.1), SEED)


def box(**changes):
    cell = changes.pop("cell", np.eye(3) * 10)
    numbers = changes.pop("numbers", [[14, 14]])
    places = changes.pop("positions", [[[0.0, 0, 0], [5, 5, 5]]])
    made = StructureSet.uniform(numbers, places, cell)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": [[[np.nan, 0, 0], [5, 5, 5]]]}, "NaN"),
        ({"cell": [[10, 0, 0], [3, 10, 0], [0, 0, 10]]}, "orthorhombic"),
        ({"cell": np.diag([10.0, np.nan, 10])}, "orthorhombic"),
        ({"numbers": [[32, 32]]}, "holds Ge, but key 'composition' has Si"),
        ({"numbers": [[14, 8]]}, "holds O, Si, but"),
        ({"pbc": np.array([[True, True, False]])}, "periodic in all directions"),
    ],
)
def test_bad_parents_are_refused(changes, message):
    with pytest.raises(DismaiError, match=r"^file.xyz: .*" + message) as caught:
        ParentBox.of(box(**changes), "file.xyz", ["Si"])
    assert "\n" not in str(caught.value)


def test_a_parent_is_one_structure():
    with pytest.raises(DismaiError, match="holds 2 structures"):
        ParentBox.of(box().select([0, 0]), "file.xyz")


def test_a_parent_is_stored_inside_its_box():
    made = ParentBox(
        np.array([14, 14]), np.array([[-1e-12, 12.0, 3.0], [1, 2, 3]]), np.full(3, 10.0)
    )
    stored = made.structure_set()
    assert stored.positions.tolist() == [[0.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    assert ParentBox.of(stored, "x").lengths.tolist() == [10, 10, 10]
