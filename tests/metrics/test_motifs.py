"""Order parameters against pymatgen, fingerprints against matminer, motifs as pandas picks them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.analysis.local_env import LocalStructOrderParams
from pymatgen.core import Lattice, PeriodicSite
from pymatgen.core.local_env import CN_OPT_PARAMS

from dismaiflow.errors import DismaiError
from dismaiflow.metrics.angles import AngleAnalyser
from dismaiflow.metrics.motifs import MOTIF_NAMES, MotifAnalyser, feature_labels
from dismaiflow.metrics.order_parameters import (
    MOTIFS,
    motif_tables,
    neighbour_angles,
    order_parameter,
)
from dismaiflow.metrics.voronoi import voronoi_cells

from .environments import (
    IONS,
    LSC_LCO,
    crystals,
    interfaces,
    ionic,
    matminer,
    moved,
    reference_fingerprint,
    silicons,
    structure_of,
)

#: Neighbours of an ideal polyhedron, and the motif that it is.
IDEAL = {
    "linear CN_2": [(0, 0, 1), (0, 0, -1)],
    "L-shaped CN_2": [(0, 0, 1), (1, 0, 0)],
    "trigonal planar CN_3": [(np.cos(a), np.sin(a), 0) for a in np.radians([0, 120, 240])],
    "T-shaped CN_3": [(0, 0, 1), (0, 0, -1), (1, 0, 0)],
    "square co-planar CN_4": [(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)],
    "tetrahedral CN_4": [(1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1)],
    "pentagonal planar CN_5": [(np.cos(a), np.sin(a), 0) for a in np.radians(72 * np.arange(5))],
    "octahedral CN_6": [s * e for e in np.eye(3) for s in (1, -1)],
    "body-centered cubic CN_8": [(x, y, z) for x in (1, -1) for y in (1, -1) for z in (1, -1)],
    "cuboctahedral CN_12": [
        np.roll((0, x, y), k) for x in (1, -1) for y in (1, -1) for k in range(3)
    ],
}


def ours(motif, vectors):
    units = np.asarray(vectors, dtype=float)
    units = units / np.linalg.norm(units, axis=1)[:, None]
    n = len(units)
    polar, azimuth = np.empty((n, n)), np.empty((n, n, n))
    neighbour_angles(units, n, polar, azimuth)
    _, kinds, numbers = motif_tables()
    k = MOTIFS.index(motif)
    return order_parameter(kinds[k], numbers[k], n, units, polar, azimuth)


def theirs(motif, vectors):
    kind, *numbers = CN_OPT_PARAMS.get(motif.coordination, {}).get(motif.name, [motif.name])
    lattice = Lattice.cubic(100.0)
    sites = [
        PeriodicSite("Si", place, lattice, coords_are_cartesian=True)
        for place in [(0, 0, 0), *vectors]
    ]
    parameter = LocalStructOrderParams([kind], parameters=numbers or [None])
    return parameter.get_order_parameters(sites, 0, list(range(1, len(sites))))[0] or 0


def test_labels_are_those_of_matminer():
    assert feature_labels() == matminer(False).feature_labels()
    assert len(feature_labels(("Cl", "O"))) == 109
    assert feature_labels(("Cl", "O"))[61:64] == [
        "Cl fraction coord num 1",
        "O fraction coord num 1",
        "Cl fraction coord num 2",
    ]
    assert len(MOTIF_NAMES) == len(set(MOTIF_NAMES)) == 37


@pytest.mark.parametrize("name", list(IDEAL))
def test_ideal_polyhedra_have_one(name):
    """By definition of the order parameters."""
    assert ours(MOTIFS[MOTIF_NAMES.index(name)], IDEAL[name]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("motif", MOTIFS, ids=lambda motif: motif.label)
def test_order_parameters_are_those_of_pymatgen(motif):
    rng = np.random.default_rng(motif.coordination)
    sets = [rng.standard_normal((motif.coordination, 3)) for _ in range(4)]
    for ideal in IDEAL.values():
        if len(ideal) >= motif.coordination:
            chosen = rng.permutation(len(ideal))[: motif.coordination]
            vectors = np.asarray(ideal, dtype=float)[chosen]
            sets += [vectors + width * rng.standard_normal(vectors.shape) for width in (0.05, 0.2)]
    for vectors in sets:
        assert ours(motif, vectors) == pytest.approx(theirs(motif, vectors), abs=1e-10)


def analyser(atoms, oxidation_states=None, centres=None, appended=()):
    species = sorted(set(atoms.get_chemical_symbols()))
    return MotifAnalyser(species, centres or species, oxidation_states, appended)


def check(atoms, step, tolerance=1e-9, oxidation_states=None, centres=None, appended=()):
    """Compare every so manieth site."""
    result = analyser(atoms, oxidation_states, centres, appended).analyse(
        atoms.numbers, atoms.positions, atoms.cell.array
    )
    structure = structure_of(atoms, oxidation_states)
    rows, places = [], range(0, len(result.sites), step)
    for k in places:
        site = int(result.sites[k])
        rows.append(reference_fingerprint(structure, site, appended, oxidation_states is not None))
    assert result.fingerprints[places] == pytest.approx(np.array(rows), abs=tolerance)
    check_most_likely(pd.DataFrame(rows, columns=feature_labels(appended)), result, places)


def check_most_likely(frame, result, places):
    """Pick the most likely motif from the features of matminer, as the published scripts do."""
    likely = frame[[f"wt CN_{n}" for n in range(1, 25)]]
    numbers = likely.idxmax(axis=1).str.removeprefix("wt CN_").astype(int)
    numbers[likely.max(axis=1) == 0] = 0
    assert result.coordination[places].tolist() == numbers.tolist()
    for row, (k, number) in enumerate(zip(places, numbers, strict=True)):
        columns = [name for name in MOTIF_NAMES if name.endswith(f"CN_{number}")]
        best = frame.loc[row, columns].idxmax() if columns else None
        assert (MOTIF_NAMES[result.motif[k]] if result.motif[k] >= 0 else None) == best
        fractions = [c for c in frame.columns if c.endswith(f"fraction coord num {number}")]
        counts = [round(frame.loc[row, column] * number) for column in fractions]
        assert result.counts[k].tolist() == (counts or [0] * result.counts.shape[1])


@pytest.mark.parametrize("name", list(silicons()))
def test_silicon_against_matminer(name):
    atoms = silicons()[name]
    check(atoms, len(atoms) // 5)


@pytest.mark.parametrize("name", list(interfaces()))
def test_interfaces_against_matminer(name):
    atoms = interfaces()[name]
    cations, anions = ["Li", "Sc", "Co"], ("Cl", "O")
    check(atoms, 17, oxidation_states=LSC_LCO, centres=cations, appended=anions)


def test_small_cells_of_ions_against_matminer():
    for seed in range(3):
        check(ionic(9, seed), 2, oxidation_states=IONS, appended=("O",))


def test_crystals_against_matminer():
    for name, atoms in crystals().items():
        check(atoms, 7, 1e-7)
        if name in {"fcc", "sc"}:
            check(moved(atoms, 0.1), 7)


def test_atoms_alone_and_in_pairs():
    """By hand: a pair is a single bond, an atom alone has none, whatever the vacuum."""
    for edge in (8.0, 13.0, 31.0):
        atoms = Atoms("Si3", [(0, 0, 0), (0, 0, 2.3), (0.5 * edge, 0.5 * edge, 0)], cell=[edge] * 3)
        result = analyser(atoms).analyse(atoms.numbers, atoms.positions, atoms.cell.array)
        assert result.coordination.tolist() == [1, 1, 0]
        assert result.motif.tolist() == [MOTIF_NAMES.index("sgl_bd CN_1")] * 2 + [-1]
        assert (result.fingerprints[2] == 0).all()
        assert result.fingerprints[0, :2] == pytest.approx(1)


def test_environments_of_crystals_by_hand():
    """Diamond: 4 at the corners of a tetrahedron; rock salt: 6 of an octahedron, all of O."""
    atoms = bulk("Si", cubic=True)
    result = analyser(atoms).analyse(atoms.numbers, atoms.positions, atoms.cell.array)
    assert {MOTIF_NAMES[code] for code in result.motif} == {"tetrahedral CN_4"}
    atoms = bulk("MgO", "rocksalt", 4.21, cubic=True)
    made = MotifAnalyser(["Mg", "O"], ["Mg"], {"Mg": 2, "O": -2}, ("O", "Mg"))
    result = made.analyse(atoms.numbers, atoms.positions, atoms.cell.array)
    assert result.sites.tolist() == [0, 2, 4, 6]
    assert {MOTIF_NAMES[code] for code in result.motif} == {"octahedral CN_6"}
    assert result.counts.tolist() == [[6, 0]] * 4
    column = made.feature_labels.index("O fraction coord num 6")
    assert result.fingerprints[:, column] == pytest.approx(1)


def test_cells_may_be_shared_with_the_angles():
    atoms = silicons()["liquid"]
    arguments = atoms.numbers, atoms.positions, atoms.cell.array
    cells = voronoi_cells(atoms.positions, atoms.cell.array)
    made, angles = MotifAnalyser(["Si"], ["Si"], None), AngleAnalyser(["Si"])
    assert np.array_equal(
        made.analyse(*arguments, cells=cells).fingerprints, made.analyse(*arguments).fingerprints
    )
    assert np.array_equal(angles.analyse(*arguments, cells=cells), angles.analyse(*arguments))


def test_wrong_input_is_refused():
    with pytest.raises(DismaiError, match="Ge is none of"):
        MotifAnalyser(["Si"], ["Ge"], None)
    with pytest.raises(DismaiError, match="no species"):
        MotifAnalyser(["Si"], [], None)
    made = MotifAnalyser(["Si", "O"], ["O"], None)
    with pytest.raises(DismaiError, match="holds no O"):
        made.analyse([14], [[0, 0, 0]], np.eye(3) * 5)
    with pytest.raises(DismaiError, match="NaN"):
        made.analyse([8], [[0, np.inf, 0]], np.eye(3) * 5)


@pytest.mark.slow
def test_every_site_against_matminer():
    cations, anions = ["Li", "Sc", "Co"], ("Cl", "O")
    for name, atoms in silicons().items():
        check(atoms, 1, 1e-7 if name in {"crystal", "flat surface"} else 1e-9)
    for atoms in interfaces(3).values():
        check(atoms, 1, oxidation_states=LSC_LCO, centres=cations, appended=anions)
    for seed in range(40):
        check(ionic(8 + seed % 20, seed, 4.5 + seed % 5), 1, oxidation_states=IONS, appended=("O",))
    for atoms in crystals().values():
        check(atoms, 1, 1e-7)
        for width in (1e-4, 0.02, 0.3):
            check(moved(atoms, width), 1, 1e-9)
