"""Energies of the elements that do not break on one composition."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.potentials.training.element_references import (
    composition_fractions,
    fit_references,
)
from dismaiflow.structures.structure_set import StructureSet


def test_fractions():
    structures = StructureSet.from_atoms([bulk("LiCl", "rocksalt", a=5.1), bulk("Cu")])
    found = composition_fractions(structures, ["Cl", "Cu", "Li", "O"])
    assert found.tolist() == [[0.5, 0, 0.5, 0], [0, 1, 0, 0]]


@settings(max_examples=25)
@given(
    st.lists(st.floats(-9, 9), min_size=1, max_size=6),
    st.lists(st.integers(1, 30), min_size=2, max_size=5),
)
def test_one_composition_gives_the_mean_to_all(energies, counts):
    """Whatever the composition; an absent element, too."""
    share = np.array([*counts, 0]) / sum(counts)
    found = fit_references(np.tile(share, (len(energies), 1)), energies)
    assert found == pytest.approx(np.full(len(share), np.mean(energies)), abs=1e-9)


def test_compositions_that_tell_all():
    """A by hand: -2 and -6 eV/atom; the element that is nowhere gets the mean, -4.5."""
    shares = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0.0, 1.0, 0]])
    energies = [-2, -4, -6, -6]
    assert fit_references(shares, energies) == pytest.approx([-2, -6, -4.5])


def test_the_smallest_deviation():
    """Two elements that always come together share what one of them could have alone.

    Shares (x, y, y): means of (1, 0, 0) -> -1 and (0, 1/2, 1/2) -> -3 are fitted exactly by the
    deviations +1 and -1, -1 from -2.
    """
    found = fit_references([[1, 0, 0], [0, 0.5, 0.5]], [-1, -3])
    assert found == pytest.approx([-1, -3, -3])


def test_noise_is_not_blown_up():
    """Compositions that differ by 1e-5 of the atoms say nothing of single elements."""
    shares = np.array([[0.5, 0.5], [0.5 + 1e-5, 0.5 - 1e-5]])
    found = fit_references(shares, [-3.00, -3.01])
    assert found == pytest.approx([-3.005, -3.005], abs=1e-3)
