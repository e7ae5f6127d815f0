"""Equation 6 by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.energy import (
    PUBLISHED_REFERENCE_ENERGY,
    interface_area,
    interface_energy,
    reference_energy_from_lowest,
)


def test_the_reference_is_zero():
    assert interface_energy(264 * -4.78, 264, PUBLISHED_REFERENCE_ENERGY, 207.8) == pytest.approx(0)


def test_one_electron_volt():
    """16.0218 J/m^2 per eV/Å^2, over 207.80 Å^2."""
    energy = interface_energy(264 * -4.78 + 1, 264, -4.78, 207.80)
    assert energy == pytest.approx(0.0771, abs=5e-5)


def test_many_structures():
    energies = interface_energy([-100.0, -99.0, np.nan], [10, 10, 10], -10.0, 16.0218)
    assert energies[:2] == pytest.approx([0, 1])
    assert np.isnan(energies[2])


def test_area_of_a_skewed_cell():
    assert interface_area([[3.0, 0, 0], [1, 4, 0], [7, 7, 30]]) == pytest.approx(12)


def test_the_lowest_structure_sets_the_reference():
    """-0.4 J/m^2 over 160.218 Å^2 is -4 eV: the lowest lies 4 eV below 10 atoms' reference."""
    reference = reference_energy_from_lowest([-104.0, -90.0, -103.9], 10, 160.218)
    assert reference == pytest.approx(-10.0)
    energies = interface_energy([-104.0, -90.0, -103.9], 10, reference, 160.218)
    assert energies.min() == pytest.approx(-0.4)


def test_structures_of_different_sizes():
    """Ten atoms over 160.218 Å^2 need a reference of -10.0; twenty over 320.436 Å^2 one of -10.2.

    At the lower of the two none is below -0.4 J/m^2.
    """
    energies, atoms, areas = [-104.0, -212.0], [10, 20], [160.218, 320.436]
    reference = reference_energy_from_lowest(energies, atoms, areas)
    assert reference == pytest.approx(-10.2)
    # 10 atoms: -104 + 102 = -2 eV, -0.2 J/m^2.
    assert interface_energy(energies, atoms, reference, areas) == pytest.approx([-0.2, -0.4])


def test_bad_input_is_refused():
    with pytest.raises(DismaiError, match="above 0"):
        interface_energy(-1.0, 10, -0.1, 0.0)
    with pytest.raises(DismaiError, match="1 of 2"):
        reference_energy_from_lowest([-1.0, np.nan], 2, 10.0)
    with pytest.raises(DismaiError, match="0 of 0"):
        reference_energy_from_lowest([], 2, 10.0)
