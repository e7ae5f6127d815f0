"""Generation with DiffCSP: predictor and corrector, from noise to structures.

Jiao et al., NeurIPS 2023 (arXiv:2309.04475), algorithm 2; paper, section 4.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dismaiflow.progress import report

if TYPE_CHECKING:
    from dismaiflow.models.diffcsp.diffusion import NoiseLevels
    from dismaiflow.models.diffcsp.network import CSPNet


@dataclass
class Crystals:
    """Structures on their way from noise.

    Parameters
    ----------
    fractions : torch.Tensor, shape (n, n_atoms, 3)
        Fractional coordinates.
    numbers : torch.Tensor, shape (n, n_atoms)
        Atomic numbers.
    cells : torch.Tensor, shape (n, 3, 3)
        Cell vectors as rows, Å.
    """

    fractions: torch.Tensor
    numbers: torch.Tensor
    cells: torch.Tensor


@dataclass(frozen=True)
class Sampler:
    """Takes structures from one noise level to none.

    Parameters
    ----------
    network : CSPNet
        A trained network.
    levels : NoiseLevels
        Noise of each time step.
    step_size : float
        γ of the corrector.
    corrector_steps : int
        At each noise level.
    keeps_cell : bool
        Whether cells stay as they are given.
    """

    network: CSPNet
    levels: NoiseLevels
    step_size: float
    corrector_steps: int = 1
    keeps_cell: bool = True

    @torch.inference_mode()
    def run(
        self,
        crystals: Crystals,
        rng: torch.Generator,
        start: int | None = None,
        noise: bool = True,
        task: str = "",
    ) -> Crystals:
        """Return structures without noise.

        Parameters
        ----------
        crystals : Crystals
            As they are at the first time step; on the device of the network.
        rng : torch.Generator
            On the processor, from which all noise is drawn.
        start : int, optional
            The time step to begin with; T by default.
        noise : bool
            Whether noise is added on the way; without it, structures go where the network points.
        task : str
            Name under which progress is told.
        """
        device = crystals.fractions.device
        x, cells = crystals.fractions, crystals.cells
        first = self.levels.timesteps if start is None else start

        def drawn(like: torch.Tensor, step: int) -> torch.Tensor:
            if not noise or step == 1:
                return torch.zeros_like(like)
            return torch.randn(like.shape, generator=rng).to(device)

        for step in range(first, 0, -1):
            for _ in range(self.corrector_steps):
                x = self._correct(step, x, cells, crystals.numbers, drawn(x, step))
            x, cells = self._predict(
                step, x, cells, crystals.numbers, drawn(x, step), drawn(cells, step)
            )
            if task:
                report(task, 1, first, "steps")
        return Crystals(x % 1.0, crystals.numbers, cells)

    def _correct(
        self,
        step: int,
        x: torch.Tensor,
        cells: torch.Tensor,
        numbers: torch.Tensor,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """Take a step of Langevin dynamics at one noise level."""
        sigma = self.levels.sigmas[step]
        size = self.step_size * (sigma / self.levels.sigmas[1]) ** 2
        found, _ = self._scores(step, x, cells, numbers)
        return (x - size * found + (2 * size).sqrt() * noise) % 1.0

    def _predict(
        self,
        step: int,
        x: torch.Tensor,
        cells: torch.Tensor,
        numbers: torch.Tensor,
        noise: torch.Tensor,
        cell_noise: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Go to the next lower noise level."""
        levels = self.levels
        here, below = levels.sigmas[step], levels.sigmas[step - 1]
        gap = here**2 - below**2
        found, cell_found = self._scores(step, x, cells, numbers)
        x = (x - gap * found + below * gap.sqrt() / here * noise) % 1.0
        if self.keeps_cell:
            return x, cells
        beta, kept = levels.betas[step], levels.kept[step]
        mean = (cells - beta / (1 - kept).sqrt() * cell_found) / (1 - beta).sqrt()
        spread = (beta * (1 - levels.kept[step - 1]) / (1 - kept)).sqrt()
        return x, mean + spread * cell_noise

    def _scores(
        self, step: int, x: torch.Tensor, cells: torch.Tensor, numbers: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return minus the score of the coordinates, and the noise of the cell."""
        times = torch.full((len(x),), step, device=x.device)
        found, cell = self.network(times, numbers, x, cells)
        return found * self.levels.norms[step].sqrt(), cell
