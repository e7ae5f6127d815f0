"""Functions of distances and angles on which messages between atoms are expanded."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import nn

#: Terms of the power series of a spherical Bessel function, enough up to arguments of order + 1.
_TERMS = 24


def envelope(x: torch.Tensor, power: int) -> torch.Tensor:
    """Return a polynomial that falls from 1 at 0 to 0 at 1, twice differentiably, and stays there.

    1 + a x^p + b x^(p+1) + c x^(p+2): arXiv:2003.03123, equation 8.

    Parameters
    ----------
    x : torch.Tensor
        Distances over the cutoff.
    power : int
        p, positive.
    """
    a = -(power + 1) * (power + 2) / 2
    b = power * (power + 2)
    c = -power * (power + 1) / 2
    value = 1 + x**power * (a + x * (b + x * c))
    return torch.where(x < 1, value, torch.zeros_like(value))


def spherical_bessel(order: int, x: torch.Tensor) -> torch.Tensor:
    """Return the spherical Bessel function of the first kind.

    By upward recursion where that is stable, else by its power series.

    Parameters
    ----------
    order : int
        Not negative.
    x : torch.Tensor
        Positive arguments; in double precision, since the recursion loses digits.
    """
    below = torch.sin(x) / x
    if order == 0:
        return below
    value = below / x - torch.cos(x) / x
    for n in range(1, order):
        below, value = value, (2 * n + 1) / x * value - below
    small = x.clamp_max(order + 1.0)
    half = -small.square() / 2
    series = torch.ones_like(small)
    for term in range(_TERMS, 0, -1):
        series = 1 + series * half / (term * (2 * (order + term) + 1))
    double_factorial = math.prod(range(1, 2 * order + 2, 2))
    return torch.where(x < order + 1, series * small**order / double_factorial, value)


def bessel_zeros(n_orders: int, n_zeros: int) -> np.ndarray:
    """Return the first positive zeros of spherical Bessel functions.

    Those of one order lie between those of the order below.

    Returns
    -------
    ndarray, shape (n_orders, n_zeros)
    """
    rows = [np.pi * np.arange(1, n_zeros + n_orders)]
    for order in range(1, n_orders):
        brackets = zip(rows[-1][:-1], rows[-1][1:], strict=True)
        rows.append(
            np.array([brentq(lambda x, n=order: spherical_jn(n, x), *pair) for pair in brackets])
        )
    return np.array([row[:n_zeros] for row in rows])


def harmonics(n_orders: int, cosines: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Return the spherical harmonics Y_l0 of angles, l = 0, 1, ...

    Parameters
    ----------
    n_orders : int
        How many.
    cosines : torch.Tensor
        Of the angles.
    dim : int
        Where the axis of orders is put.
    """
    values = [torch.ones_like(cosines), cosines]
    for n in range(1, n_orders - 1):
        values.append(((2 * n + 1) * cosines * values[n] - n * values[n - 1]) / (n + 1))
    scaled = [math.sqrt((2 * n + 1) / (4 * math.pi)) * values[n] for n in range(n_orders)]
    return torch.stack(scaled, dim=dim)


class BesselRadial(nn.Module):
    """Sine waves that end at the cutoff, over the distance: DimeNet's radial basis.

    arXiv:2003.03123, equation 7, with frequencies that learn.

    Parameters
    ----------
    n_radial : int
        Functions.
    cutoff : float
        In Å.
    exponent : int
        Of the envelope, before that is divided by the distance.
    """

    def __init__(self, n_radial: int, cutoff: float, exponent: int) -> None:
        super().__init__()
        self.cutoff, self.power = cutoff, exponent + 1
        self.frequencies = nn.Parameter(math.pi * torch.arange(1.0, n_radial + 1))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Return values, shape (..., n_radial), of distances in Å, shape (...)."""
        x = distances[..., None] / self.cutoff
        return envelope(x, self.power) / x * torch.sin(self.frequencies * x)


class SphericalRadial(nn.Module):
    """Normalised spherical Bessel functions that end at the cutoff: DimeNet's basis of triplets.

    The radial part of arXiv:2003.03123, equation 6; `harmonics` is the other.

    Parameters
    ----------
    n_spherical, n_radial : int
        Orders, and functions of each.
    cutoff : float
        In Å.
    exponent : int
        Of the envelope, before that is divided by the distance.
    """

    def __init__(self, n_spherical: int, n_radial: int, cutoff: float, exponent: int) -> None:
        super().__init__()
        self.cutoff, self.power = cutoff, exponent + 1
        zeros = bessel_zeros(n_spherical, n_radial)
        above = np.array([spherical_jn(n + 1, row) for n, row in enumerate(zeros)])
        self.zeros: torch.Tensor
        self.norms: torch.Tensor
        self.register_buffer("zeros", torch.tensor(zeros), persistent=False)
        norms = math.sqrt(2) / np.abs(above)
        self.register_buffer("norms", torch.tensor(norms), persistent=False)

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Return values, shape (..., n_spherical, n_radial), of distances in Å, shape (...)."""
        x = distances[..., None].double() / self.cutoff
        waves = [spherical_bessel(order, x * row) for order, row in enumerate(self.zeros.double())]
        values = torch.stack(waves, dim=-2) * self.norms
        values = values * (envelope(x, self.power) / x)[..., None]
        return values.to(distances.dtype)


class GaussianRadial(nn.Module):
    """Gaussians of distances, cut off smoothly: the radial basis of CDVAE's decoder.

    Parameters
    ----------
    n_radial : int
        Gaussians, more than one: at equal steps from 0 to the cutoff, and as wide as a step.
    cutoff : float
        In Å.
    exponent : int
        Of the envelope.
    """

    def __init__(self, n_radial: int, cutoff: float, exponent: int) -> None:
        super().__init__()
        self.n_radial, self.cutoff, self.power = n_radial, cutoff, exponent

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Return values, shape (..., n_radial), of distances in Å, shape (...)."""
        x = distances[..., None] / self.cutoff
        steps = self.n_radial - 1
        places = torch.arange(self.n_radial, dtype=x.dtype, device=x.device)
        return envelope(x, self.power) * torch.exp(-(x * steps - places).square() / 2)
