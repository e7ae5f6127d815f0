"""Bulk crystals of a spec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.bulk import bulk_structure, formula_units
from dismaiflow.systems import get_system
from dismaiflow.systems.interface_blocks import BulkPhase

MGO = {
    "formula": {"Mg": 1, "O": 1},
    "cell": {"lengths": [4.21, 4.21, 4.21]},
    "space_group": "Fm-3m",
    "sites": [
        {"species": "Mg", "position": [0, 0, 0]},
        {"species": "O", "position": ["1/2", "1/2", "1/2"]},
    ],
}


def nearest(structure, first, second):
    """Shortest distance of two kinds, periodic images included."""
    kinds = np.array([site.specie.symbol for site in structure])
    i, j, _, d = structure.get_neighbor_list(4.0)
    return d[(kinds[i] == first) & (kinds[j] == second)].min()


def sites(structure):
    """Species and fractional coordinates, in an order of their own."""
    return sorted(
        (site.specie.symbol, *(round(float(x), 4) % 1 for x in site.frac_coords))
        for site in structure
    )


def test_conventional_cells_of_lsc_lco():
    bulk = get_system("lsc-lco").interface.bulk
    lco, lsc = (bulk_structure(bulk[name], name) for name in ("LCO", "LSC"))
    assert lco.composition.formula == "Li3 Co3 O6"
    assert lsc.composition.formula == "Li6 Sc2 Cl12"
    assert lco.lattice.parameters == pytest.approx((2.82965, 2.82965, 14.13314, 90, 90, 120))
    # a along x and b in the xy plane, as cells have it everywhere here.
    assert lsc.lattice.matrix[0, 1:] == pytest.approx([0, 0])
    assert (formula_units(lco, bulk["LCO"]), formula_units(lsc, bulk["LSC"])) == (3, 2)
    # CoO6 by hand: Co at z = 1/2, O above it at z(O) + 1/3, a third of the cell aside.
    height = (0.2395 + 1 / 3 - 1 / 2) * 14.13314
    assert nearest(lco, "Co", "O") == pytest.approx(
        np.hypot(2.82965 / np.sqrt(3), height), abs=1e-3
    )


def test_lyc_is_a_sensible_crystal():
    lyc = bulk_structure(get_system("lyc-lco").interface.bulk["LYC"], "LYC")
    assert lyc.composition.formula == "Li9 Y3 Cl18"
    assert 2.4 < nearest(lyc, "Li", "Cl") < 2.7
    assert 2.4 < nearest(lyc, "Y", "Cl") < 2.7
    assert nearest(lyc, "Li", "Li") > 2.9
    assert nearest(lyc, "Cl", "Cl") > 3.3
    kinds = np.array([site.specie.symbol for site in lyc])
    i, j, _, _ = lyc.get_neighbor_list(2.9)
    for metal in ("Li", "Y"):
        counts = np.bincount(i[(kinds[i] == metal) & (kinds[j] == "Cl")], minlength=len(lyc))
        assert set(counts[kinds == metal]) == {6}


@pytest.mark.parametrize("name", ["li2o-licl-100-li", "li2o-mgs-110", "li2o-li-110"])
def test_binaries_are_their_crystals(name):
    for phase, block in get_system(name).interface.bulk.items():
        structure = bulk_structure(block, phase)
        wanted = {"Li2O": ("Li", "O", 3**0.5 / 4), "Li": ("Li", "Li", 3**0.5 / 2)}
        first, second, share = wanted.get(phase, (*block.formula, 0.5))
        assert nearest(structure, first, second) == pytest.approx(share * structure.lattice.a)


def test_cif_round_trip(tmp_path: Path):
    bulk = get_system("lsc-lco").interface.bulk["LSC"]
    direct = bulk_structure(bulk, "LSC")
    direct.to(filename=str(tmp_path / "LSC.cif"))
    by_file = BulkPhase(formula=bulk.formula, cif="LSC.cif")
    again = bulk_structure(by_file, "LSC", tmp_path)
    assert again.lattice.parameters == pytest.approx(direct.lattice.parameters, abs=1e-5)
    assert len(again) == len(direct)
    # The file has another orientation in space, and sorts the sites.
    assert sites(again) == sites(direct)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"space_group": "Fm3m"},
            r"key 'bulk.MgO.space_group': no space group 'Fm3m': did you mean",
        ),
        (
            {"cell": {"lengths": [4.2, 4.2, 5]}},
            r"key 'bulk.MgO.space_group': Fm-3m is cubic, which",
        ),
        (
            {"sites": [{**MGO["sites"][0]}, {"species": "O", "position": [0.25, 0.25, 0.25]}]},
            r"key 'bulk.MgO.sites': with space group Fm-3m they make Mg4 O8",
        ),
        (
            {"sites": [MGO["sites"][0], {"species": "O", "position": [0, 0, 0]}]},
            r"key 'bulk.MgO.sites': Mg and O lie 0.00 Å apart",
        ),
    ],
)
def test_impossible_crystals_are_refused(change, line):
    with pytest.raises(DismaiError, match=line):
        bulk_structure(BulkPhase.model_validate(MGO | change), "MgO")


def test_cif_that_is_not_there(tmp_path: Path):
    with pytest.raises(DismaiError, match=r"key 'bulk.MgO.cif': no file MgO.cif in .*beside"):
        bulk_structure(BulkPhase(formula={"Mg": 1, "O": 1}, cif="MgO.cif"), "MgO", tmp_path)
