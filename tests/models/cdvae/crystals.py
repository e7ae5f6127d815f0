"""Random crystals for tests of CDVAE's networks, and other ways to see the same crystal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from pymatgen.core import Lattice
from scipy.spatial.transform import Rotation

from dismaiflow.models.cdvae.graph import PaddedGraph


class Crystals(NamedTuple):
    """Some crystals with the same number of atoms, in double precision."""

    fractions: torch.Tensor
    numbers: torch.Tensor
    cells: torch.Tensor


def random_cell(rng, edge):
    """A skew cell with edges of about this length in Å."""
    return edge * (np.eye(3) * rng.uniform(0.8, 1.3, 3) + rng.uniform(-0.45, 0.45, (3, 3)))


def random_crystals(seed, n_atoms=6, edge=4.0, n=2):
    """Crystals without order."""
    rng = np.random.default_rng(seed)
    return Crystals(
        torch.tensor(rng.random((n, n_atoms, 3))),
        torch.tensor(rng.choice([3, 17, 21, 27], (n, n_atoms))),
        torch.tensor(np.array([random_cell(rng, edge) for _ in range(n)])),
    )


class View(NamedTuple):
    """Turned axes, another origin, another order of atoms, and other images of atoms."""

    rotation: torch.Tensor
    origin: torch.Tensor
    order: torch.Tensor
    images: torch.Tensor

    def of(self, crystals):
        """The same crystals seen this way."""
        fractions = crystals.fractions + self.origin + self.images
        return Crystals(
            fractions[:, self.order],
            crystals.numbers[:, self.order],
            crystals.cells @ self.rotation.T,
        )


@st.composite
def views(draw, n_atoms=6):
    """Random views; reflections too."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sign = draw(st.sampled_from([1, -1]))
    return View(
        torch.tensor(sign * Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()),
        torch.tensor(rng.uniform(-1, 1, 3)),
        torch.tensor(rng.permutation(n_atoms)),
        torch.tensor(rng.integers(-3, 4, (n_atoms, 3)).astype(float)),
    )


def reference_crystals():
    """The crystals that were given to the published code, which tells cells by their parameters."""
    parameters = [(4.6, 5.1, 4.9, 82, 95, 104), (5.3, 4.7, 4.8, 90, 77, 99)]
    cells = np.array([Lattice.from_parameters(*six).matrix for six in parameters])
    steps = torch.arange(8, dtype=torch.float64).view(2, 4, 1)
    fractions = 0.1 + steps * torch.tensor([0.81917, 0.67104, 0.54970], dtype=torch.float64)
    numbers = torch.tensor([[3, 17, 21, 27], [17, 3, 8, 3]])
    return Crystals(fractions % 1, numbers, torch.tensor(cells))


def filled(module):
    """The module in double precision, with weights that anyone can work out."""
    module = module.double()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("frequencies"):
                weight.copy_(torch.pi * torch.arange(1, len(weight) + 1, dtype=torch.float64))
                continue
            place = torch.arange(weight.numel(), dtype=torch.float64).view(weight.shape)
            waves = torch.sin(1.7 * place + 0.3 * place.numel())
            weight.copy_(1.5 * waves / weight.shape[-1] ** 0.5)
    return module


def padded(graph, more=3):
    """The same graph with places that must not matter, before and after the others."""
    rng = torch.Generator().manual_seed(0)
    n, n_atoms, _ = graph.atoms.shape
    atoms = torch.randint(0, n_atoms, (n, n_atoms, more), generator=rng)
    shifts = torch.randint(-2, 3, (n, n_atoms, more, 3), generator=rng, dtype=torch.int32)
    none = torch.zeros((n, n_atoms, more), dtype=torch.bool)
    extra = PaddedGraph(atoms, shifts, none)
    parts = zip(extra, graph, extra, strict=True)
    return PaddedGraph(*(torch.cat(three, dim=2) for three in parts))


def difficult_crystals():
    """Two atoms on top of each other, one alone, and a structure without any edge."""
    near = [[0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.12, 0.1, 0.15], [0.6, 0.6, 0.6]]
    far = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    return Crystals(
        torch.tensor([near, far]),
        torch.tensor([[3, 17, 8, 3]] * 2),
        20 * torch.eye(3).repeat(2, 1, 1),
    )
