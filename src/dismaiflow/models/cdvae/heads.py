"""Latent codes of CDVAE, and what is predicted from them: number, lattice and composition.

Xie et al., ICLR 2022 (arXiv:2110.06197), section 4.1; paper, section 2.2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from dismaiflow.models.cdvae.noise import cell_parameters, cells_of

#: Added to standard deviations: of a cell that all training structures share it is zero.
_EPSILON = 1e-5


def make_mlp(inside: int, hidden: int, layers: int, outside: int) -> nn.Sequential:
    """Return a network of so many hidden layers of one width, with rectifiers."""
    widths = [inside, *[hidden] * layers]
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(widths[-1], outside))


class Heads(nn.Module):
    """What stands between encoder and decoder.

    Parameters
    ----------
    latent_dim : int
        Numbers of a latent code.
    hidden, layers : int
        Width and number of hidden layers of the networks.
    most_atoms : int
        Largest number of atoms.
    heaviest : int
        Largest atomic number.
    scales_length : bool
        Whether lengths are divided by the cube root of the number of atoms.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(
        self,
        latent_dim: int,
        hidden: int,
        layers: int,
        most_atoms: int,
        heaviest: int,
        scales_length: bool = True,
    ) -> None:
        super().__init__()
        self._scales_length = scales_length
        self.to_mean = nn.Linear(latent_dim, latent_dim)
        self.to_log_variance = nn.Linear(latent_dim, latent_dim)
        self.number = make_mlp(latent_dim, hidden, layers, most_atoms + 1)
        self.lattice = make_mlp(latent_dim, hidden, layers, 6)
        self.composition = make_mlp(latent_dim, hidden, layers, heaviest)
        # Double: a spread of 1e-5 is less than what single precision makes of an angle.
        self.register_buffer("mean", torch.zeros(6, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(6, dtype=torch.float64))

    def learn_scale(self, cells: torch.Tensor, n_atoms: int) -> None:
        """Take mean and standard deviation of lattices from training structures.

        Parameters
        ----------
        cells : torch.Tensor, shape (n, 3, 3)
            Å; in double precision, so that a cell that all share has a spread of zero.
        n_atoms : int
            Of all of them.
        """
        wanted = self._shrunk(cell_parameters(cells), n_atoms)
        self.mean.copy_(wanted.mean(0))
        self.spread.copy_(wanted.std(0, correction=0) + _EPSILON)

    def standardised(self, cells: torch.Tensor, n_atoms: int) -> torch.Tensor:
        """Return lattices as the network learns them, shape (n, 6); cells in double precision."""
        return ((self._shrunk(cell_parameters(cells), n_atoms) - self.mean) / self.spread).float()

    def cells(self, lattice: torch.Tensor, n_atoms: int) -> torch.Tensor:
        """Return the cells of standardised lattices, shape (n, 3, 3), Å; see `cells_of`."""
        found = lattice * self.spread + self.mean
        if self._scales_length:
            found = torch.cat([found[:, :3] * n_atoms ** (1 / 3), found[:, 3:]], dim=-1)
        return cells_of(found).float()

    def latent(
        self, encoded: torch.Tensor, draws: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw latent codes of structures.

        Parameters
        ----------
        encoded : torch.Tensor, shape (n, latent_dim)
            What the encoder gives.
        draws : torch.Tensor, shape (n, latent_dim)
            Normal random numbers.

        Returns
        -------
        mean, log_variance, z : torch.Tensor, shape (n, latent_dim)
        """
        mean, log_variance = self.to_mean(encoded), self.to_log_variance(encoded)
        return mean, log_variance, mean + draws * (0.5 * log_variance).exp()

    def _shrunk(self, parameters: torch.Tensor, n_atoms: int) -> torch.Tensor:
        if not self._scales_length:
            return parameters
        return torch.cat([parameters[:, :3] / n_atoms ** (1 / 3), parameters[:, 3:]], dim=-1)


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence from the standard normal distribution.

    Parameters
    ----------
    mean, log_variance : torch.Tensor, shape (n, latent_dim)
        Of normal distributions of independent numbers.

    Returns
    -------
    torch.Tensor
        Summed over the numbers, mean over structures.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()


def composition_loss(logits: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of the species of all atoms under one composition a structure.

    Parameters
    ----------
    logits : torch.Tensor, shape (n, heaviest)
        Of each atomic number from 1.
    numbers : torch.Tensor, shape (n, n_atoms)
        Atomic numbers.
    """
    each = logits[:, :, None].expand(-1, -1, numbers.shape[1])
    return functional.cross_entropy(each, numbers - 1)


def sample_composition(
    probabilities: torch.Tensor, n_atoms: int, rng: torch.Generator
) -> torch.Tensor:
    """Draw species whose shares are those of a composition, as far as whole atoms allow.

    The atoms of each species are rounded to whole ones (Xie et al., published code). If these are
    too few, the rest is drawn from what rounding left over; if too many, any are left out.

    Parameters
    ----------
    probabilities : torch.Tensor, shape (heaviest,)
        Share of each atomic number from 1; on the processor.
    n_atoms : int
        How many.
    rng : torch.Generator
        On the processor.

    Returns
    -------
    torch.Tensor, shape (n_atoms,)
        Atomic numbers in random order, int64.
    """
    wanted = probabilities * n_atoms
    counts = wanted.round()
    numbers = torch.arange(1, len(counts) + 1).repeat_interleave(counts.long())
    missing = n_atoms - len(numbers)
    if missing > 0:
        left = (wanted - counts).clamp(min=0)
        rest = torch.multinomial(left, missing, replacement=True, generator=rng) + 1
        numbers = torch.cat([numbers, rest])
    return numbers[torch.randperm(len(numbers), generator=rng)][:n_atoms]
