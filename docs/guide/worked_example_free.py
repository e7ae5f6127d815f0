"""The examples without a lattice of the page "Worked examples", computed by the package."""

from __future__ import annotations

import numpy as np

from dismaiflow.interfaces.energy import interface_energy
from dismaiflow.metrics.angles import ANGLE_EDGES, angle_histogram
from dismaiflow.metrics.comparison import cosine_similarity, mean_distance, weighted_means
from dismaiflow.metrics.overlaps import push_apart

# One row per structure: mean fingerprints of two A atoms and of one B atom.
generated = {"A": np.array([[0.6, 0.3], [0.8, 0.1]]), "B": np.array([[0.0, 0.9], [0.2, 0.7]])}
reference = {"A": np.array([[0.4, 0.5]]), "B": np.array([[0.7, 0.2]])}
atoms = {"A": 2, "B": 1}

for species in atoms:
    value, _ = mean_distance(generated[species], reference[species].mean(axis=0))
    print(f"d_{species.lower()}: {value:.6f}")
ours, theirs = weighted_means(generated, atoms), weighted_means(reference, atoms)
print(f"d_all: {mean_distance(ours, theirs.mean(axis=0))[0]:.6f}")
print(f"cos_all: {cosine_similarity(ours, theirs.mean(axis=0))[0]:.6f}")

angles = [[90.0, 90.0, 180.0], [109.47] * 6]
shares = np.array([angle_histogram(one) for one in angles])
mean = shares.mean(axis=0)
for place in np.flatnonzero(mean):
    print(f"angles ({ANGLE_EDGES[place]}, {ANGLE_EDGES[place + 1]}]: {mean[place]:.6f}")
print(f"d_angle of the two structures: {mean_distance(shares[:1], shares[1])[0]:.6f}")
other = angle_histogram([90.1, 90.1, 180.0])
print(f"d_angle if 90.0 were 90.1: {mean_distance(shares[:1], other)[0]:.6f}")

cell, places = np.eye(3) * 10, np.array([[0.1, 5.0, 5.0], [9.7, 5.0, 5.0]])
for protocol in ("published", "corrected"):
    moved = push_apart(places, cell, protocol=protocol)
    print(f"pushed, {protocol}: x = {moved.positions[0, 0]:.2f} and {moved.positions[1, 0]:.2f}")

print(f"interface energy: {float(interface_energy(-1262.0, 264, -4.78, 207.80)):.6f} J/m^2")
