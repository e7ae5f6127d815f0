"""Structures of many kinds, and what matminer and pymatgen say of their atoms."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
from ase import Atoms
from ase.build import bulk
from tests.interfaces.hosts import lsc_lco

#: Of the solid electrolyte and the electrode; and of a set of other ions.
LSC_LCO = {"Li": 1, "Sc": 3, "Co": 3, "Cl": -1, "O": -2}
IONS = {"Mg": 2, "Li": 1, "Si": 4, "O": -2, "F": -1}


def moved(atoms, sigma, seed=0):
    """Return a copy whose atoms are displaced by so many Å."""
    out = atoms.copy()
    out.positions += sigma * np.random.default_rng(seed).standard_normal(out.positions.shape)
    return out


def silicon(repeats=(4, 4, 2)):
    return bulk("Si", cubic=True) * repeats


def slab(atoms, vacuum):
    out = atoms.copy()
    out.center(vacuum=vacuum, axis=2)
    return out


def with_void(atoms, radius):
    away = np.linalg.norm(atoms.positions - atoms.cell.sum(0) / 2, axis=1)
    return atoms[away > radius]


def silicons():
    """Silicon from the crystal to a gas, with a void, and with surfaces."""
    return {
        "crystal": silicon(),
        "warm": moved(silicon(), 0.1),
        "liquid": moved(silicon(), 0.6),
        "gas": moved(silicon(), 3.0),
        "void": with_void(moved(silicon(), 0.2), 5.0),
        "surface": slab(moved(silicon((2, 2, 2)), 0.2), 8.0),
        "flat surface": slab(silicon((2, 2, 2)), 8.0),
        "void and surface": slab(with_void(moved(silicon(), 0.3), 4.5), 5.0),
    }


def interfaces(n=1):
    """Random interfaces of 264 atoms, as generated and displaced."""
    sets = lsc_lco().generate(range(n), seed=7, exchanges=True).structures
    atoms = [sets.atoms(k) for k in range(n)]
    return {
        **{f"generated {k}": one for k, one in enumerate(atoms)},
        **{f"displaced {k}": moved(one, 0.2, k) for k, one in enumerate(atoms)},
    }


def ionic(n_atoms, seed, edge=5.0):
    """Ions at random places of a small oblique cell, some of them outside of it."""
    rng = np.random.default_rng(seed)
    symbols = [*IONS, *rng.choice(list(IONS), n_atoms - len(IONS))]
    cell = np.diag(rng.uniform(0.8, 1.4, 3)) * edge + rng.uniform(-0.3, 0.3, (3, 3)) * edge
    return Atoms(symbols, scaled_positions=3 * rng.random((n_atoms, 3)) - 1, cell=cell, pbc=True)


def crystals():
    """Crystals whose Voronoi cells have vertices in which many faces meet."""
    return {
        "fcc": bulk("Cu", cubic=True) * (2, 2, 2),
        "bcc": bulk("Fe", cubic=True) * (2, 2, 2),
        "hcp": bulk("Mg") * (2, 2, 2),
        "sc": bulk("Po", "sc", 3.35) * (2, 2, 2),
        "diamond": bulk("Si"),
        "primitive fcc": bulk("Cu"),
        "CsCl": bulk("CsCl", "cesiumchloride", 4.1) * (2, 2, 2),
        "NaCl": bulk("NaCl", "rocksalt", 5.64, cubic=True),
    }


def structure_of(atoms, oxidation_states=None):
    """Return the pymatgen structure of ASE atoms."""
    from pymatgen.io.ase import AseAtomsAdaptor

    structure = AseAtomsAdaptor.get_structure(atoms)
    if oxidation_states:
        structure.add_oxidation_state_by_element(oxidation_states)
    return structure


@cache
def matminer(ionic_bonds):
    from matminer.featurizers.site.fingerprint import CrystalNNFingerprint  # takes seconds

    return CrystalNNFingerprint.from_preset("ops", cation_anion=ionic_bonds)


def reference_fingerprint(structure, site, appended=(), ionic_bonds=False):
    """Return the 61 features of matminer and the fractions of species by coordination number."""
    featurizer = matminer(ionic_bonds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features = featurizer.featurize(structure, site)
        data = featurizer.cnn.get_nn_data(structure, site)
    fractions = []
    for number in range(1, 25):
        symbols = [one["site"].specie.symbol for one in data.cn_nninfo.get(number, ())]
        fractions += [symbols.count(symbol) / number for symbol in appended]
    return np.array(features + fractions)


def reference_bonds(structure, site):
    """Return the vectors to the neighbours that the bond angles are made of, in their order."""
    from pymatgen.analysis.local_env import CrystalNN

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finder = CrystalNN(distance_cutoffs=None, x_diff_weight=0, porous_adjustment=False)
        found = finder.get_nn_info(structure, site)
    return np.array([one["site"].coords for one in found]).reshape(-1, 3) - structure[site].coords
