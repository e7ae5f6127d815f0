"""Generation with a trained CDVAE: latent codes, what they predict, and Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from dismaiflow.models.cdvae.heads import Heads, sample_composition
from dismaiflow.models.cdvae.langevin import Crystals, Langevin
from dismaiflow.models.cdvae.learner import DECODER, HEADS, Sizes, make_decoder, make_heads
from dismaiflow.models.cdvae.noise import cell_parameters, cells_of, geometric_levels
from dismaiflow.models.data.crystals import CrystalData, turned_like
from dismaiflow.models.train.randomness import generator as seeded_generator
from dismaiflow.models.train.weights import load_weights
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.models.cdvae.settings import CDVAESettings


@dataclass(frozen=True, eq=False)
class Start:
    """What a structure begins with.

    Parameters
    ----------
    rng : torch.Generator
        Its own, so that its random numbers depend on no others.
    z : torch.Tensor, shape (latent_dim,)
        Latent code.
    numbers : torch.Tensor, shape (n_atoms,)
        Atomic numbers.
    cell : torch.Tensor, shape (3, 3)
        Cell vectors as rows, Å.
    like : ndarray, shape (3, 3)
        A cell of training; the generated one is turned as it is.
    """

    rng: torch.Generator
    z: torch.Tensor
    numbers: torch.Tensor
    cell: torch.Tensor
    like: NDArray[np.float64]


def make_langevin(
    folder: Path, settings: CDVAESettings, sizes: Sizes, device: str
) -> tuple[Heads, Langevin]:
    """Return what samples the weights in a folder; the heads on the processor.

    Raises
    ------
    DismaiError
        If the weights are missing or do not fit.
    """
    heads, decoder = make_heads(settings, sizes), make_decoder(settings, sizes)
    load_weights(folder, {HEADS: heads})
    load_weights(folder, {DECODER: decoder}, device=device)
    langevin = Langevin(
        decoder.eval(),
        geometric_levels(settings.sigma_begin, settings.sigma_end, settings.noise_levels),
        settings.langevin_steps,
        settings.step_size,
        settings.min_sigma,
        settings.species_denoising and settings.composition == "predicted",
    )
    return heads.eval(), langevin


@torch.inference_mode()
def make_start(
    heads: Heads,
    settings: CDVAESettings,
    template: CrystalData,
    rank: torch.Tensor,
    rng: torch.Generator,
) -> Start:
    """Draw a latent code, and predict what a structure begins with.

    Parameters
    ----------
    heads : Heads
        Trained.
    settings : CDVAESettings
        What is predicted.
    template : CrystalData
        Structures of which the rest is drawn.
    rank : torch.Tensor, shape (n_numbers,)
        Place of each atomic number in the order of species.
    rng : torch.Generator
        Of this structure.
    """
    drawn = int(torch.randint(len(template), (), generator=rng))
    z = torch.randn((1, settings.latent_dim), generator=rng)
    n_atoms = template.numbers.shape[1]
    if settings.number == "predicted":
        n_atoms = int(heads.number(z)[0, 1:].argmax()) + 1
    if settings.composition == "predicted":
        shares = heads.composition(z)[0].softmax(-1)
        numbers = sample_composition(shares, n_atoms, rng)
    else:
        numbers = torch.tensor(template.numbers[drawn])
    if settings.lattice == "predicted":
        cell = heads.cells(heads.lattice(z), n_atoms)[0]
    else:
        true = torch.tensor(template.cells[drawn])
        cell = cells_of(cell_parameters(true[None]))[0].float()
    # Identical atoms begin anywhere alike: their order changes nothing but how a file reads.
    numbers = numbers[rank[numbers].argsort(stable=True)]
    return Start(rng, z[0], numbers, cell, template.cells[drawn])


def generate(
    folder: Path,
    settings: CDVAESettings,
    sizes: Sizes,
    template: StructureSet,
    n: int,
    seed: int,
    device: str,
) -> StructureSet:
    """Generate structures from latent codes and atoms anywhere in the cell.

    Each structure draws from a generator of its own; how many are generated at once changes
    nothing but the rounding of the networks.

    Parameters
    ----------
    folder : Path
        With the weights.
    settings : CDVAESettings
        Of the training, and for sampling.
    sizes : Sizes
        Of the training.
    template : StructureSet
        Structures of training.
    n : int
        How many.
    seed : int
        Of all randomness.
    device : str
        Where to compute.
    """
    heads, langevin = make_langevin(folder, settings, sizes, device)
    known = CrystalData.from_structures(template, "cdvae", "template")
    rank = _ranks(known.numbers[0])
    starts = [
        make_start(heads, settings, known, rank, seeded_generator(seed, "sample", index))
        for index in range(n)
    ]
    made: dict[int, tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]] = {}
    # Structures of one number of atoms go together.
    counts = np.array([len(start.numbers) for start in starts])
    for count in np.unique(counts):
        places = np.flatnonzero(counts == count)
        for first in range(0, len(places), settings.sample_batch_size):
            part = places[first : first + settings.sample_batch_size]
            task = f"generate {len(made) + len(part)} of {n}"
            done = run_together(langevin, [starts[place] for place in part], rank, device, task)
            made.update(zip(part.tolist(), done, strict=True))
    numbers, positions, cells = zip(*(made[index] for index in range(n)), strict=True)
    return StructureSet(
        numbers=np.concatenate(numbers),
        positions=np.concatenate(positions),
        cells=np.array(cells),
        pbc=np.ones((n, 3), dtype=bool),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        ids=tuple(map(str, range(n))),
    )


def run_together(
    langevin: Langevin, starts: Sequence[Start], rank: torch.Tensor, device: str, task: str = ""
) -> list[tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]]:
    """Run Langevin dynamics of structures of one number of atoms.

    Parameters
    ----------
    langevin : Langevin
        The dynamics.
    starts : sequence of Start
        What the structures begin with.
    rank : torch.Tensor, shape (256,)
        Place of each atomic number in the order of species.
    device : str
        Where to compute.
    task : str
        Name under which progress is told.

    Returns
    -------
    list of tuple of ndarray
        Atomic numbers, positions (Å) and cell of each.
    """

    def normal(shape: torch.Size) -> torch.Tensor:
        return torch.stack([torch.randn(shape[1:], generator=start.rng) for start in starts])

    n_atoms = len(starts[0].numbers)
    begin = [torch.rand((n_atoms, 3), generator=start.rng) for start in starts]
    crystals = Crystals(
        torch.stack([start.z for start in starts]).to(device),
        torch.stack(begin).to(device),
        torch.stack([start.numbers for start in starts]).to(device),
        torch.stack([start.cell for start in starts]).to(device),
    )
    found = langevin.run(crystals, normal, task=task)
    fractions = found.fractions.cpu().double().numpy()
    cells = found.cells.cpu().double().numpy()
    cells = turned_like(cells, np.array([start.like for start in starts]))
    # Species may have changed on the way.
    order = rank[found.numbers.cpu()].argsort(dim=1, stable=True).numpy()
    numbers = np.take_along_axis(found.numbers.cpu().numpy().astype(np.uint8), order, 1)
    positions = np.take_along_axis(fractions @ cells, order[:, :, None], 1)
    return list(zip(numbers, positions, cells, strict=True))


def _ranks(numbers: NDArray[np.int64]) -> torch.Tensor:
    """Return the place of each atomic number in order of first appearance; others follow."""
    species, first = np.unique(numbers, return_index=True)
    rank = torch.arange(256) + len(numbers)
    rank[torch.from_numpy(species)] = torch.from_numpy(first)
    return rank
