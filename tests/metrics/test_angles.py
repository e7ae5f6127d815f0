"""Bond angles by hand and against CrystalNN; their histogram against pandas."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.angles import ANGLE_EDGES, AngleAnalyser, angle_histogram

from .environments import moved, reference_bonds, silicon, silicons, slab, structure_of, with_void


def angles_of(atoms, oxidation_states=None):
    made = AngleAnalyser(sorted(set(atoms.get_chemical_symbols())), oxidation_states)
    return made.analyse(atoms.numbers, atoms.positions, atoms.cell.array)


def reference(atoms, sites):
    structure = structure_of(atoms)
    out = []
    for site in sites:
        for u, v in combinations(reference_bonds(structure, int(site)), 2):
            cosine = u @ v / (np.linalg.norm(u) * np.linalg.norm(v))
            out.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.array(out)


def test_crystals_by_hand():
    """Diamond has 6 angles of 109.47 degrees an atom; rock salt 12 of 90 and 3 of 180."""
    angles = angles_of(bulk("Si", cubic=True))
    assert angles == pytest.approx([np.degrees(np.arccos(-1 / 3))] * 48)
    salt = angles_of(bulk("NaCl", "rocksalt", 5.64), {"Na": 1, "Cl": -1})
    # Next to 180 degrees the cosine hardly changes.
    assert np.sort(salt) == pytest.approx([90] * 24 + [180] * 6, abs=1e-5)


@pytest.mark.parametrize(
    "atoms",
    [
        moved(silicon((2, 2, 1)), 0.1),
        moved(silicon((2, 2, 1)), 0.5),
        slab(moved(silicon((2, 1, 1)), 0.2), 6.0),
        with_void(moved(silicon((2, 2, 2)), 0.3), 4.0)[:20],
        moved(bulk("Cu", cubic=True), 0.1),
    ],
)
def test_angles_are_those_of_crystal_nn_in_the_same_order(atoms):
    # Arc cosines near 180 degrees amplify the rounding of the coordinates.
    assert angles_of(atoms) == pytest.approx(reference(atoms, range(len(atoms))), abs=1e-9)


def test_lone_atoms_and_pairs_have_none():
    pair = Atoms("Si2", [(0, 0, 0), (0, 0, 2.3)], cell=[15, 15, 15])
    angles = angles_of(pair)
    assert len(angles) == 0
    assert (angle_histogram(angles) == 0).all()


@given(st.lists(st.one_of(st.floats(0, 180), st.integers(0, 360).map(lambda k: k / 2)), min_size=1))
def test_histogram_is_that_of_pandas(angles):
    cut = pd.cut(pd.Series(angles), np.arange(0, 180.5, 0.5), include_lowest=True)
    wanted = cut.value_counts(normalize=True, sort=False).to_numpy()
    assert angle_histogram(angles) == pytest.approx(wanted, abs=1e-15)


def test_edges_belong_to_the_interval_below():
    histogram = angle_histogram([0.0, 0.5, 90.0, 90.1, 180.0])
    assert np.flatnonzero(histogram).tolist() == [0, 179, 180, 359]
    assert histogram[[0, 179, 180, 359]] == pytest.approx([0.4, 0.2, 0.2, 0.2])
    assert ANGLE_EDGES[[0, 1, 360]].tolist() == [0, 0.5, 180]


@pytest.mark.parametrize("angle", [-0.1, 180.1, np.nan])
def test_impossible_angles_are_refused(angle):
    with pytest.raises(DismaiError, match="not between"):
        angle_histogram([90.0, angle])


@pytest.mark.slow
def test_every_angle_of_large_structures():
    for name, atoms in silicons().items():
        if "flat" not in name and name != "crystal":
            wanted = reference(atoms, range(len(atoms)))
            assert angles_of(atoms) == pytest.approx(wanted, abs=1e-9)
