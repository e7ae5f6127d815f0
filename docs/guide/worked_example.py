"""The eight-site example of the page "Worked examples", computed by the package."""

from __future__ import annotations

import numpy as np

from dismaiflow.alloy.cluster_expansion import ClusterExpansion, IntegerHamiltonian
from dismaiflow.metrics.clusters import (
    count_monomers,
    count_pairs,
    fingerprint,
    fingerprint_labels,
    per_atom,
)
from dismaiflow.metrics.memorisation import nearest_distances
from dismaiflow.metrics.order import warren_cowley
from dismaiflow.structures.lattice import SiteLattice

SPECIES = ("Cr", "Fe", "Ni")
lattice = SiteLattice("fcc", 3.6, (2, 1, 1))
shells = lattice.shells(2)

# Cr 0, Fe 1, Ni 2, vacancy -1; sites 0 to 7 as in the table of the page.
generated = np.array([[1, 1, 1, 2, 1, 0, 0, -1]], dtype=np.int8)
reference = np.array([[1, 1, 1, 2, 1, 0, 0, 2]], dtype=np.int8)

expansion = ClusterExpansion.from_dict(
    {
        "constant": -0.010,
        "monomer": {"Cr": 0.035, "Fe": 0.007, "Ni": -0.014},
        "pair": {
            "1": {
                "Cr-Cr": 0.014,
                "Cr-Fe": -0.007,
                "Cr-Ni": -0.021,
                "Fe-Fe": 0.0,
                "Fe-Ni": 0.007,
                "Ni-Ni": 0.0,
            },
            "2": {
                "Cr-Cr": -0.007,
                "Cr-Fe": 0.0,
                "Cr-Ni": 0.0,
                "Fe-Fe": 0.0,
                "Fe-Ni": 0.0,
                "Ni-Ni": 0.014,
            },
        },
    }
)

names = fingerprint_labels(SPECIES, 2)
columns = {}
for protocol in ("published", "corrected"):
    for which, occupation in (("generated", generated), ("reference", reference)):
        monomers = count_monomers(occupation, 3)
        pairs = count_pairs(occupation, shells, 3)
        columns[protocol, which] = fingerprint(monomers, pairs, shells.multiplicities, protocol)[0]
        columns["alpha", protocol, which] = warren_cowley(monomers, pairs, protocol)[0].ravel()

print(f"{'':10}{'published':>20}{'corrected':>20}")
for i, name in enumerate(names):
    row = [columns[p, w][i] for p in ("published", "corrected") for w in ("generated", "reference")]
    print(f"{name:10}" + "".join(f"{value:10.6f}" for value in row))
for protocol in ("published", "corrected"):
    difference = columns[protocol, "generated"] - columns[protocol, "reference"]
    print(f"d_cluster, {protocol}: {np.linalg.norm(difference):.6f}")

for i, name in enumerate(names[3:]):
    row = [columns["alpha", protocol, "generated"][i] for protocol in ("published", "corrected")]
    print(f"alpha {name}: published {row[0]:9.5f}   corrected {row[1]:9.5f}")

monomers, pairs = count_monomers(generated, 3), count_pairs(generated, shells, 3)
print(f"energy, corrected: {expansion.energy(*per_atom(monomers, pairs))[0]:.7f} eV/atom")
print(f"energy, published: {expansion.energy(*per_atom(monomers, pairs, 5))[0]:.7f} eV/atom")

hamiltonian = IntegerHamiltonian(expansion, lattice)
quanta = hamiltonian.energy_quanta(reference[0])
print(f"pair energy of the full cell: {quanta} quanta of 2^{np.log2(hamiltonian.quantum):.0f} eV")
print(f"                            = {quanta * hamiltonian.quantum:.6f} eV")
print(f"nearest reference: {nearest_distances(generated, reference, lattice)[0]}")
