"""Annealed Langevin dynamics of CDVAE, from atoms anywhere to structures.

Xie et al., ICLR 2022 (arXiv:2110.06197), algorithm 1; paper, section 4.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch

from dismaiflow.models.cdvae.noise import moved
from dismaiflow.progress import report

if TYPE_CHECKING:
    from collections.abc import Callable


class Decoder(Protocol):
    """What tells where atoms should go."""

    def __call__(
        self,
        z: torch.Tensor,
        fractions: torch.Tensor,
        numbers: torch.Tensor,
        cells: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the score times the noise, and logits of species if it denoises them."""
        ...


@dataclass(frozen=True)
class Crystals:
    """Structures on their way, of one number of atoms.

    Parameters
    ----------
    z : torch.Tensor, shape (n, latent_dim)
        Latent codes.
    fractions : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates.
    numbers : torch.Tensor, shape (n, n_atoms)
        Atomic numbers.
    cells : torch.Tensor, shape (n, 3, 3)
        Cell vectors as rows, Å.
    """

    z: torch.Tensor
    fractions: torch.Tensor
    numbers: torch.Tensor
    cells: torch.Tensor


@dataclass(frozen=True)
class Langevin:
    """Takes structures from one noise level to none.

    Parameters
    ----------
    decoder : Decoder
        A trained one, or an exact score.
    sigmas : torch.Tensor, shape (n_levels,)
        Noise from the largest, Å.
    steps : int
        At each noise level.
    step_size : float
        ε of the smallest level, Å²; that of others grows with the square of the noise.
    min_sigma : float
        Noise below which no steps are taken, Å.
    changes_species : bool
        Whether species become what the decoder finds most likely after each step.
    """

    decoder: Decoder
    sigmas: torch.Tensor
    steps: int = 100
    step_size: float = 1e-4
    min_sigma: float = 0.0
    changes_species: bool = False

    @torch.inference_mode()
    def run(
        self,
        crystals: Crystals,
        normal: Callable[[torch.Size], torch.Tensor],
        begin: float | None = None,
        task: str = "",
    ) -> Crystals:
        """Return structures without noise.

        Parameters
        ----------
        crystals : Crystals
            As they are at the first noise level; on the device of the decoder.
        normal : callable
            Draws normal random numbers of a shape, on the processor.
        begin : float, optional
            Noise to begin with, Å: larger levels are left out. All are taken by default.
        task : str
            Name under which progress is told.
        """
        device = crystals.fractions.device
        sigmas = self.sigmas[self.sigmas >= self.min_sigma]
        if begin is not None:
            sigmas = sigmas[sigmas <= begin]
        now = crystals
        for sigma in sigmas.tolist():
            size = self.step_size * (sigma / float(self.sigmas[-1])) ** 2
            for _ in range(self.steps):
                noise = normal(now.fractions.shape).to(device)
                now = self._step(now, sigma, size, noise)
            if task:
                report(task, 1, len(sigmas), "noise levels")
        return now

    def _step(self, now: Crystals, sigma: float, size: float, noise: torch.Tensor) -> Crystals:
        found, logits = self.decoder(now.z, now.fractions, now.numbers, now.cells)
        step = size * found / sigma + (2 * size) ** 0.5 * noise
        numbers = now.numbers
        if self.changes_species and logits is not None:
            numbers = logits.argmax(-1) + 1
        return replace(now, fractions=moved(now.fractions, step, now.cells), numbers=numbers)
