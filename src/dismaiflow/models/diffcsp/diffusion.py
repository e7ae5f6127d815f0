"""Noise of DiffCSP: wrapped normal for fractional coordinates, normal for cells.

Jiao et al., NeurIPS 2023 (arXiv:2309.04475), section 4; paper, section 4.2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

#: Images of a wrapped normal distribution on either side; at σ = 0.5 the next is e^-200.
_IMAGES = 10

#: Places at which the mean squared score is integrated; the sum converges exponentially.
_GRID = 401

#: Offset of the cosine schedule (Nichol and Dhariwal, arXiv:2102.09672), and limits of its steps.
_COSINE_OFFSET, _LEAST_BETA, _MOST_BETA = 0.008, 1e-4, 0.9999


def minus_wrapped_score(shift: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return minus the derivative of the log density of a wrapped normal distribution.

    Parameters
    ----------
    shift : torch.Tensor
        Distance from the mean, in units of the period; need not be wrapped.
    sigma : torch.Tensor
        Standard deviation before wrapping; broadcast.

    Notes
    -----
    The sum over images is taken relative to the nearest, so that nothing underflows.
    """
    shift = shift - torch.round(shift)
    images = torch.arange(-_IMAGES, _IMAGES + 1, device=shift.device, dtype=shift.dtype)
    places = shift[..., None] + images
    shares = torch.softmax(-places.square() / (2 * sigma[..., None] ** 2), dim=-1)
    return (shares * places).sum(-1) / sigma**2


@dataclass(frozen=True)
class NoiseLevels:
    """Noise of each time step, from 0 to T.

    Parameters
    ----------
    sigmas : torch.Tensor, shape (T + 1,)
        Of the fractional coordinates; 0 at first.
    norms : torch.Tensor, shape (T + 1,)
        Mean squared score of the wrapped normal distribution at each.
    betas, kept : torch.Tensor, shape (T + 1,)
        Of the cell: steps of variance, and share of the signal's variance that is left.
    """

    sigmas: torch.Tensor
    norms: torch.Tensor
    betas: torch.Tensor
    kept: torch.Tensor

    @classmethod
    def build(cls, timesteps: int, sigma_begin: float, sigma_end: float) -> NoiseLevels:
        """Return exponential levels for coordinates, and the cosine schedule for cells."""
        steps = torch.linspace(math.log(sigma_begin), math.log(sigma_end), timesteps).double()
        sigmas = torch.cat([torch.zeros(1, dtype=torch.float64), steps.exp()])
        norms = torch.ones_like(sigmas)
        norms[1:] = mean_squared_score(sigmas[1:])
        betas = _cosine_betas(timesteps)
        return cls(sigmas.float(), norms.float(), betas, torch.cumprod(1 - betas, 0))

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.sigmas) - 1

    def to(self, device: str) -> NoiseLevels:
        """Return them on a device."""
        return NoiseLevels(
            self.sigmas.to(device), self.norms.to(device), self.betas.to(device),
            self.kept.to(device),
        )  # fmt: skip

    def nearest(self, sigma: float) -> int:
        """Return the time step whose noise is nearest to a given one."""
        return int((self.sigmas[1:] - sigma).abs().argmin()) + 1


def mean_squared_score(sigmas: torch.Tensor) -> torch.Tensor:
    """Return the mean squared score of wrapped normal distributions.

    Parameters
    ----------
    sigmas : torch.Tensor, shape (n,)
        Their standard deviations before wrapping.

    Notes
    -----
    Integrated over one period in steps that follow the width; the published code draws 10,000
    random numbers.
    """
    places = torch.linspace(-6, 6, _GRID, dtype=torch.float64)
    weights = torch.exp(-places.square() / 2)
    weights /= weights.sum()
    shifts = sigmas[:, None].double() * places
    scores = minus_wrapped_score(shifts, sigmas[:, None].double().expand_as(shifts))
    return (scores.square() * weights).sum(1)


def _cosine_betas(timesteps: int) -> torch.Tensor:
    """Return the steps of variance of the cosine schedule, 0 at first."""
    places = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    angle = (places + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * math.pi / 2
    kept = torch.cos(angle).square()
    betas = (1 - kept[1:] / kept[:-1]).clamp(_LEAST_BETA, _MOST_BETA)
    return torch.cat([torch.zeros(1), betas.float()])
