"""Independent counts and small Hamiltonians for the alloy tests."""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dismaiflow.alloy.cluster_expansion import ClusterExpansion, IntegerHamiltonian
from dismaiflow.structures.lattice import SiteLattice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PAPER_COMPOSITION = {"Fe": 154, "Ni": 51, "Cr": 51}

#: Basis of each conventional cell, written down again so that the count shares nothing.
BASES = {
    "sc": [(0.0, 0.0, 0.0)],
    "bcc": [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5)],
    "fcc": [(0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)],
}


def count_images(
    kind: str, repeats: tuple[int, int, int], distances: list[float], positions: Any
) -> NDArray[np.int64]:
    """Count, in plain loops, by how many images two sites are neighbours of each shell.

    Distances are in units of the lattice constant, as are the positions. Returns shape (n_shells,
    n_sites, n_sites), in which a pair of different sites appears at [i, j] and at [j, i], and a
    site meets each of its own images at [i, i].
    """
    n = len(positions)
    assert n == len(BASES[kind]) * repeats[0] * repeats[1] * repeats[2]
    counts = np.zeros((len(distances), n, n), dtype=np.int64)
    reach = [int(distances[-1] / r) + 1 for r in repeats]
    images = list(product(*(range(-k, k + 1) for k in reach)))
    for i in range(n):
        for j in range(n):
            for image in images:
                square = 0.0
                for axis in range(3):
                    d = positions[j][axis] - positions[i][axis] + image[axis] * repeats[axis]
                    square += d * d
                for shell, radius in enumerate(distances):
                    if abs(square - radius * radius) < 1e-6:
                        counts[shell, i, j] += 1
    return counts


#: Shell radii in lattice constants.
RADII = {
    "sc": [1.0, 2**0.5, 3**0.5, 2.0],
    "bcc": [3**0.5 / 2, 1.0, 2**0.5],
    "fcc": [0.5**0.5, 1.0, 1.5**0.5, 2**0.5, 2.5**0.5, 3**0.5, 3.5**0.5],
}


@pytest.fixture(scope="session")
def brute_force_quanta() -> Callable[[IntegerHamiltonian, NDArray[np.integer]], int]:
    """Return a function that counts a pair energy in quanta from distances alone."""
    known: dict[Any, NDArray[np.int64]] = {}

    def energy(hamiltonian: IntegerHamiltonian, occupation: NDArray[np.integer]) -> int:
        lattice = hamiltonian.lattice
        expansion = hamiltonian.expansion
        key = (lattice.kind, lattice.repeats, expansion.n_shells)
        if key not in known:
            known[key] = count_images(
                lattice.kind,
                lattice.repeats,
                RADII[lattice.kind][: expansion.n_shells],
                (lattice.positions / lattice.a).tolist(),
            )
        twice = 0
        for shell in range(expansion.n_shells):
            sites, others = np.nonzero(known[key][shell])
            for i, j in zip(sites.tolist(), others.tolist(), strict=True):
                quanta = round(
                    expansion.pair[shell, occupation[i], occupation[j]] / hamiltonian.quantum
                )
                twice += int(known[key][shell, i, j]) * quanta
        assert twice % 2 == 0
        return twice // 2

    return energy


@pytest.fixture(scope="session")
def paper_expansion() -> ClusterExpansion:
    """Return the published cluster expansion of the Fe-Ni-Cr alloy."""
    path = files("dismaiflow.systems") / "library" / "fe_ni_cr_eci.json"
    return ClusterExpansion.from_dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def paper_hamiltonian(paper_expansion: ClusterExpansion) -> IntegerHamiltonian:
    """Return it on the 256 sites of the paper."""
    return IntegerHamiltonian(paper_expansion, SiteLattice("fcc", 3.6, (4, 4, 4)))


@pytest.fixture(scope="session")
def toy() -> Callable[..., IntegerHamiltonian]:
    """Return a function that makes a Hamiltonian with pair terms drawn from a fixed seed."""

    def make(
        kind: str, repeats: tuple[int, int, int], n_species: int, n_shells: int, scale: float = 0.02
    ) -> IntegerHamiltonian:
        rng = np.random.default_rng(n_species * 100 + n_shells)
        half = rng.normal(scale=scale, size=(n_shells, n_species, n_species))
        pair = (half + half.transpose(0, 2, 1)) / 2
        species = tuple("ABCD"[:n_species])
        expansion = ClusterExpansion(species, 0.1, np.linspace(0.0, 0.3, n_species), pair)
        return IntegerHamiltonian(expansion, SiteLattice(kind, 3.0, repeats))

    return make
