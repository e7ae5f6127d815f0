"""Cluster expansions: energies of ordered structures worked by hand, and wrong input."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dismaiflow.alloy.cluster_expansion import ClusterExpansion, IntegerHamiltonian
from dismaiflow.errors import DismaiError
from dismaiflow.metrics.clusters import count_monomers, count_pairs, per_atom
from dismaiflow.structures.lattice import SiteLattice

from .conftest import PAPER_COMPOSITION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

#: Two species, two shells, all terms different, in eV.
DATA: dict[str, Any] = {
    "constant": 0.5,
    "monomer": {"A": 0.1, "B": -0.2},
    "pair": {
        "1": {"A-A": 0.01, "A-B": -0.02, "B-B": 0.03},
        "2": {"A-A": -0.004, "B-A": 0.005, "B-B": 0.006},
    },
    "source": "made up",
}


def energy_of(
    expansion: ClusterExpansion, lattice: SiteLattice, codes: NDArray[np.int8]
) -> tuple[float, float]:
    """Return the energy per atom from counts, and from quanta."""
    n = len(expansion.species)
    shells = lattice.shells(expansion.n_shells)
    counts = count_monomers(codes, n), count_pairs(codes, shells, n)
    fractions, pairs = per_atom(*counts)
    hamiltonian = IntegerHamiltonian(expansion, lattice)
    quanta = hamiltonian.energy_quanta(codes) * hamiltonian.quantum / lattice.n_sites
    offset = expansion.constant + float(fractions[0] @ expansion.monomer)
    return float(expansion.energy(fractions, pairs)[0]), offset + quanta


def test_l1_2_by_hand() -> None:
    """A3B with B on one sublattice of fcc.

    Of the six first-shell pairs per atom three are AB and three AA (each B has twelve A around it,
    and a quarter of the atoms are B); of the three second-shell pairs all are like, a quarter BB.
    """
    expansion = ClusterExpansion.from_dict(DATA)
    lattice = SiteLattice("fcc", 3.6, (2, 2, 2))
    codes = (lattice.sublattices == 0).astype(np.int8)
    by_hand = 0.5 + 0.75 * 0.1 - 0.25 * 0.2
    by_hand += 3 * 0.01 + 3 * -0.02 + 2.25 * -0.004 + 0.75 * 0.006
    counted, quanta = energy_of(expansion, lattice, codes)
    assert counted == pytest.approx(by_hand, abs=1e-12)
    assert quanta == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("repeats", [(2, 2, 2), (1, 1, 1), (3, 1, 2)])
def test_cscl_by_hand(repeats: tuple[int, int, int]) -> None:
    """B2 order on bcc: four AB pairs per atom in the first shell, three like pairs in the second.

    In the smallest cells the second shell leads from a site to its own images.
    """
    expansion = ClusterExpansion.from_dict(DATA)
    lattice = SiteLattice("bcc", 2.9, repeats)
    codes = lattice.sublattices.astype(np.int8)
    by_hand = 0.5 + (0.1 - 0.2) / 2 + 4 * -0.02 + 3 * (-0.004 + 0.006) / 2
    counted, quanta = energy_of(expansion, lattice, codes)
    assert counted == pytest.approx(by_hand, abs=1e-12)
    assert quanta == pytest.approx(by_hand, abs=1e-6)


def test_integer_energies_of_the_paper_alloy(
    paper_hamiltonian: IntegerHamiltonian,
    brute_force_quanta: Callable[[IntegerHamiltonian, NDArray[np.integer]], int],
) -> None:
    """Quanta equal a count from distances, and the energy in eV up to their rounding."""
    expansion = paper_hamiltonian.expansion
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [PAPER_COMPOSITION[s] for s in expansion.species])
    codes = rng.permutation(codes).astype(np.int8)
    assert paper_hamiltonian.energy_quanta(codes) == brute_force_quanta(paper_hamiltonian, codes)
    counted, quanta = energy_of(expansion, paper_hamiltonian.lattice, codes)
    # 67 pairs per atom, each rounded by at most half a quantum.
    assert abs(counted - quanta) < 67 * paper_hamiltonian.quantum / 2


def test_published_numbers(paper_expansion: ClusterExpansion) -> None:
    """The file of the package is read with its own conventions."""
    assert paper_expansion.species == ("Cr", "Fe", "Ni")
    assert paper_expansion.pair.shape == (7, 3, 3)
    assert paper_expansion.constant == -0.00932958469464057
    assert paper_expansion.pair[1, 0, 0] == -0.03477817417403486
    assert paper_expansion.pair[0, 2, 0] == paper_expansion.pair[0, 0, 2] == -0.017503750379865866
    assert "120088" in paper_expansion.source


def test_quantum_leaves_room_in_int32() -> None:
    """Large pair terms get a coarser quantum, and no change of energy can overflow."""
    lattice = SiteLattice("fcc", 3.6, (4, 4, 4))
    fine = IntegerHamiltonian(ClusterExpansion.from_dict(DATA), lattice)
    assert fine.quantum == 2.0**-26
    data = copy.deepcopy(DATA)
    data["pair"]["1"]["A-A"] = 50.0
    coarse = IntegerHamiltonian(ClusterExpansion.from_dict(data), lattice)
    assert coarse.quantum > fine.quantum
    # 12 neighbours of 50 eV each, four fields relative to another species.
    assert 8 * 12 * 50 / coarse.quantum < 2**31
    with pytest.raises(DismaiError, match="quantum"):
        IntegerHamiltonian(coarse.expansion, lattice, quantum=2.0**-26)


def wrong(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the data with something spoilt."""
    data = copy.deepcopy(DATA)
    change(data)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wrong(lambda d: d.pop("constant")), "KeyError: 'constant'"),
        (wrong(lambda d: d["pair"].pop("1")), "shell 1 is missing"),
        (wrong(lambda d: d["pair"]["2"].pop("A-A")), "A-A of shell 2 is missing"),
        (wrong(lambda d: d["pair"]["2"].update({"A-B": 0.1})), "given twice"),
        (wrong(lambda d: d["pair"]["2"].update({"A-C": 0.1})), "KeyError"),
        (wrong(lambda d: d["pair"]["1"].update({"A-A": "x"})), "ValueError"),
        (wrong(lambda d: d.update(monomer={"A": 0.1, "B": float("nan")})), "not finite"),
        ([], "not a pair cluster expansion"),
    ],
)
def test_wrong_data_is_refused(data: Any, message: str) -> None:
    """Every fault is named in one line."""
    with pytest.raises(DismaiError, match=message) as caught:
        ClusterExpansion.from_dict(data, "my.json")
    assert "\n" not in str(caught.value)


def test_asymmetric_or_misshapen_terms_are_refused() -> None:
    """Pair terms must be symmetric, and all arrays must fit the species."""
    with pytest.raises(DismaiError, match="symmetric"):
        ClusterExpansion(("A", "B"), 0.0, np.zeros(2), np.array([[[0.0, 1.0], [2.0, 0.0]]]))
    with pytest.raises(DismaiError, match="2 species need"):
        ClusterExpansion(("A", "B"), 0.0, np.zeros(3), np.zeros((1, 2, 2)))


def test_files(tmp_path: Path) -> None:
    """A file is read; one that is missing, empty or binary is named."""
    path = tmp_path / "eci.json"
    path.write_text(json.dumps(DATA))
    assert ClusterExpansion.from_file(path).species == ("A", "B")
    for content in (b"", b"\xff\xfe\x00", b"[1, 2"):
        path.write_bytes(content)
        with pytest.raises(DismaiError, match=r"eci\.json"):
            ClusterExpansion.from_file(path)
    with pytest.raises(DismaiError, match=r"none\.json"):
        ClusterExpansion.from_file(tmp_path / "none.json")
