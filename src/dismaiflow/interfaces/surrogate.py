"""Where low energies lie among thickness and displacement: one half of a search that learns.

Beyond the paper, which draws all three uniformly. A Gaussian process (C. E. Rasmussen, C. K. I.
Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1) is fitted to the energies of
what was relaxed. Much of an energy is due to the random region, which the three do not tell: that
is the noise of the process, and where it is all there is, proposals become uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.sampling import structure_rng

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from dismaiflow.interfaces.slab import Host, Slab
    from dismaiflow.systems.interface_blocks import Region

#: Stream of a seed, after those of `sampling` and `mutation`.
SURROGATE_KEY = 10

#: Length scales (of the unit range; of the waves in the plane) and shares of signal compared.
_THICKNESS_SCALES = (0.2, 0.5, 1.5)
_SHIFT_SCALES = (0.7, 1.2, 2.0)
_SIGNALS = (0.02, 0.1, 0.3, 0.6, 0.9)

#: Structures by which the scales are chosen, at most; the fit itself takes up to `_MOST`.
_FOR_SCALES, _MOST = 250, 1500

#: Energies count as no higher than so many times the spread (1.4826 times the median absolute
#: deviation, which is the standard deviation of a normal distribution) above the median.
_CLIP, _NORMAL = 3.0, 1.4826

#: Waves in the plane beside the constant, at least, and in which range of frequencies, for each
#: equivalent shift, they are sought; the phase that may be missing to a whole period.
_N_WAVES, _REACH, _PHASE = 12, 5, 0.15

#: Added to covariances that are factorised, so that rounding does not make them indefinite.
_JITTER = 1e-8


@dataclass(frozen=True)
class SurrogateSettings:
    """How much a search trusts its surrogate.

    Parameters
    ----------
    exploration : float
        Share of proposals that are uniform, whatever was learned.
    candidates : int
        Points from which a proposal is the best: the more, the greedier.
    least : int
        Finite energies below which all proposals are uniform.
    caution : float
        Failures and successes are counted around a point as if half of so many had been seen to
        end as the average does.

    Raises
    ------
    DismaiError
        If a value is out of its range.
    """

    exploration: float = 0.25
    candidates: int = 32
    least: int = 10
    caution: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.exploration <= 1:
            raise DismaiError("surrogate: exploration must lie between 0 and 1")
        if self.candidates < 1 or self.least < 2 or not self.caution > 0:
            raise DismaiError(
                "surrogate: candidates must be 1 or more, least 2 or more, caution above 0"
            )


class Prediction(NamedTuple):
    """Energies that are expected at some points.

    Parameters
    ----------
    mean, std : ndarray, shape (n,)
        Expected energy and its standard deviation (without the noise), eV.
    success : ndarray, shape (n,)
        Chance that a structure ends with an energy.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    success: NDArray[np.float64]


class _Scales(NamedTuple):
    thickness: float
    shift: float
    signal: float


@dataclass(frozen=True, eq=False)
class Surrogate:
    """What thickness and displacement tell of the energy.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        Points of the unit cube: thickness and shifts as shares of their ranges.
    energies : ndarray, shape (n,)
        eV; NaN for structures that failed.
    lateral_shift : 2 float
        Ranges of the shifts, as in the spec, in shares of the vectors, of which all is periodic.
    translations : ndarray, shape (n_translations, 2), optional
        Displacements of the film (shares of the vectors) that make no difference, a group with
        the zero; see `equivalent_shifts`. By default the zero alone.
    settings : SurrogateSettings
        How proposals are made.

    Raises
    ------
    DismaiError
        If points and energies are not alike in number, or a point is not finite.
    """

    points: NDArray[np.float64]
    energies: NDArray[np.float64]
    lateral_shift: tuple[float, float] = (1.0, 1.0)
    translations: NDArray[np.float64] | None = None
    settings: SurrogateSettings = SurrogateSettings()

    def __post_init__(self) -> None:
        n = len(self.energies)
        if self.points.shape != (n, 3) or not np.isfinite(self.points).all():
            raise DismaiError(
                f"surrogate: {n} energies need as many finite points of 3 values; the shape of "
                f"those given is {self.points.shape}"
            )

    @property
    def learned(self) -> bool:
        """Whether there are energies enough to learn from."""
        return len(self._known[0]) >= self.settings.least

    def predict(self, points: ArrayLike) -> Prediction:
        """Return what is expected at some points.

        Parameters
        ----------
        points : array-like, shape (n, 3)
            Points of the unit cube.

        Raises
        ------
        DismaiError
            If no energy is finite.
        """
        if not len(self._known[0]):
            raise DismaiError("surrogate: none of the energies is finite, so nothing is learned")
        wanted = np.asarray(points, dtype=float).reshape(-1, 3)
        mean, covariance = self._posterior(wanted)
        _, centre, spread = self._standard
        std = np.sqrt(np.clip(np.diag(covariance), 0.0, None)) * spread
        return Prediction(centre + spread * mean, std, self._success(wanted))

    def propose(self, indices: Sequence[int], seed: int) -> NDArray[np.float64]:
        """Propose thickness and displacement of new structures.

        A share of them is uniform. For each of the others uniform candidates are drawn, some are
        dropped as failures, in proportion to their chance, and the one is taken that is lowest in
        one function drawn from the process (Thompson sampling): it may be low because low
        energies were found there, or because nothing is known there.

        Parameters
        ----------
        indices : sequence of int
            Indices of the structures.
        seed : int
            Seed of the whole set.

        Returns
        -------
        ndarray, shape (n_indices, 3)
            Points of the unit cube, for ``RandomInterfaces.generate(points=...)``. Each depends
            on the seed, its index, and the points and energies given, not on their order.
        """
        rows = [self._proposed(structure_rng(seed, SURROGATE_KEY, int(i))) for i in indices]
        return np.array(rows, dtype=float).reshape(-1, 3)

    def _proposed(self, rng: np.random.Generator) -> NDArray[np.float64]:
        explore = rng.random() < self.settings.exploration
        candidates = rng.random((self.settings.candidates, 3))
        if explore or not self.learned:
            return np.asarray(candidates[0])
        lucky = rng.random(len(candidates)) < self._success(candidates)
        candidates = candidates[lucky] if lucky.any() else candidates
        mean, covariance = self._posterior(candidates)
        factor = cholesky(covariance + _JITTER * np.eye(len(mean)), lower=True)
        drawn = mean + factor @ rng.standard_normal(len(mean))
        return np.asarray(candidates[int(drawn.argmin())])

    @cached_property
    def _ordered(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """All points and energies in an order of their own, so that the given one is no matter."""
        order = np.lexsort((self.energies, *self.points.T))
        return self.points[order], self.energies[order]

    @cached_property
    def _known(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points with an energy, and their energies; of very many an even choice."""
        points, energies = self._ordered
        finite = np.flatnonzero(np.isfinite(energies))
        if len(finite) > _MOST:
            finite = finite[np.linspace(0, len(finite) - 1, _MOST).astype(np.int64)]
        return points[finite], energies[finite]

    @cached_property
    def _standard(self) -> tuple[NDArray[np.float64], float, float]:
        """Energies in units of their spread about their mean; mean and spread, eV."""
        energies = self._known[1]
        middle = np.median(energies)
        width = _NORMAL * np.median(np.abs(energies - middle))
        # A few structures that ended very high would else outweigh all others.
        clipped = np.minimum(energies, middle + _CLIP * width) if width > 0 else energies
        centre, spread = float(clipped.mean()), float(clipped.std()) or 1.0
        return (clipped - centre) / spread, centre, spread

    @cached_property
    def _scales(self) -> _Scales:
        """The scales under which the energies are most likely (marginal likelihood)."""
        points, values = self._known[0], self._standard[0]
        n = len(points)
        some = np.unique(np.linspace(0, n - 1, min(n, _FOR_SCALES)).astype(np.int64))
        points, values = points[some], values[some]
        best, highest = _Scales(_THICKNESS_SCALES[-1], _SHIFT_SCALES[-1], _SIGNALS[0]), -np.inf
        for thickness, shift in product(_THICKNESS_SCALES, _SHIFT_SCALES):
            shape = self._kernel(points, points, thickness, shift)
            for signal in _SIGNALS:
                factor = cholesky(_noisy(shape, signal), lower=True)
                white = solve_triangular(factor, values, lower=True)
                likelihood = -0.5 * float(white @ white) - float(np.log(np.diag(factor)).sum())
                if likelihood > highest:
                    best, highest = _Scales(thickness, shift, signal), likelihood
        return best

    @cached_property
    def _fit(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cholesky factor of the covariance, and the weights of the known points."""
        points, scales = self._known[0], self._scales
        shape = self._kernel(points, points, scales.thickness, scales.shift)
        factor = cholesky(_noisy(shape, scales.signal), lower=True)
        return factor, cho_solve((factor, True), self._standard[0])

    def _posterior(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and covariance at some points, in units of the spread."""
        scales = self._scales
        factor, weights = self._fit
        across = scales.signal * self._kernel(
            self._known[0], points, scales.thickness, scales.shift
        )
        white = solve_triangular(factor, across, lower=True)
        prior = scales.signal * self._kernel(points, points, scales.thickness, scales.shift)
        return across.T @ weights, prior - white.T @ white

    def _success(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the chance of an energy: successes nearby, as the kernel weighs them."""
        known, energies = self._ordered
        ended = np.isfinite(energies)
        if ended.all():
            return np.ones(len(points))
        shape = self._kernel(points, known, _THICKNESS_SCALES[0], _SHIFT_SCALES[0])
        # Half of a success keeps a chance where all has failed so far.
        average = (ended.sum() + 0.5) / (len(ended) + 1.0)
        weight = self.settings.caution / 2
        return (shape @ ended + weight * average) / (shape.sum(axis=1) + weight)

    def _kernel(
        self,
        first: NDArray[np.float64],
        second: NDArray[np.float64],
        thickness: float,
        shift: float,
    ) -> NDArray[np.float64]:
        """Return correlations, 1 of a point with itself: Gaussian, periodic in the shifts.

        The periodic factor is a sum of plane waves, which fall off as a Gaussian with their
        frequency, so that it is a covariance by Bochner's theorem (Rasmussen and Williams, 4.1).
        """
        height = np.exp(-0.5 * (np.subtract.outer(first[:, 0], second[:, 0]) / thickness) ** 2)
        waves, squares = self._waves
        weights = np.exp(-0.5 * shift**2 * squares)
        one, other = (
            2 * np.pi * (points[:, 1:] * np.array(self.lateral_shift)) @ waves.T
            for points in (first, second)
        )
        plane = (np.cos(one) * weights) @ np.cos(other).T + (np.sin(one) * weights) @ np.sin(
            other
        ).T
        return np.asarray(height * plane / weights.sum())

    @cached_property
    def _waves(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Plane waves that have the same value at all shifts that make no difference.

        Their frequencies along a and b, and the squared lengths of these in units of what is
        typical of so many equivalent shifts.
        """
        group = np.zeros((1, 2)) if self.translations is None else self.translations
        reach = np.arange(-_REACH * len(group), _REACH * len(group) + 1)
        grid = np.array(np.meshgrid(reach, reach, indexing="ij")).reshape(2, -1).T
        # A wave and its reverse tell the same.
        grid = grid[(grid[:, 0] > 0) | ((grid[:, 0] == 0) & (grid[:, 1] >= 0))]
        phases = grid @ group.T
        grid = grid[(np.abs(phases - np.rint(phases)) < _PHASE).all(axis=1)]
        squares = (grid**2).sum(axis=1)
        kept = squares <= np.sort(squares)[: _N_WAVES + 1].max()
        return grid[kept].astype(float), squares[kept] / len(group)


def _noisy(shape: NDArray[np.float64], signal: float) -> NDArray[np.float64]:
    """Return the covariance of energies of variance 1, of which this share is signal."""
    return signal * shape + (1.0 - signal + _JITTER) * np.eye(len(shape))


def unit_points_of(labels: Mapping[str, ArrayLike], region: Region) -> NDArray[np.float64]:
    """Return where structures lie in the unit cube, the inverse of `thickness_and_shift`.

    Parameters
    ----------
    labels : mapping of str to array-like, shape (n,)
        Labels ``thickness`` (Å), ``shift_a`` and ``shift_b`` of a set.
    region : Region
        Ranges of thickness and shifts.

    Returns
    -------
    ndarray, shape (n, 3)
        Beyond a range its nearer end, 0 where the range is a single value.
    """
    low, high = region.thickness
    values = np.column_stack(
        [np.asarray(labels[name], dtype=float) for name in ("thickness", "shift_a", "shift_b")]
    )
    spans = np.array([high - low, *region.lateral_shift])
    shares = (values - np.array([low, 0.0, 0.0])) / np.where(spans > 0, spans, 1.0)
    return np.where(spans > 0, np.clip(shares, 0.0, 1.0), 0.0)


def equivalent_shifts(host: Host, tolerance: float = 0.1) -> NDArray[np.float64]:
    """Return the displacements of the film that make no difference to a random interface.

    A translation that maps the film onto itself changes nothing. One that maps the substrate onto
    itself changes nothing either, because the region in between is random and moves with it.

    Parameters
    ----------
    host : Host
        The slabs.
    tolerance : float
        Largest distance between an atom and the site that it is mapped onto, Å.

    Returns
    -------
    ndarray, shape (n, 2)
        Shares of the vectors in [0, 1), a group; the zero comes first.
    """
    below, above = (_own_translations(slab, tolerance) for slab in (host.substrate, host.film))
    sums = (below[:, None] + above[None]).reshape(-1, 2)
    sums = sums[np.lexsort(np.round(sums % 1.0, 6).T[::-1])]
    kept = np.zeros((1, 2))
    for shift in sums:
        apart = shift - kept
        lengths = np.linalg.norm((apart - np.rint(apart)) @ host.substrate.vectors, axis=1)
        if lengths.min() > 2 * tolerance:
            kept = np.concatenate([kept, shift[None] % 1.0])
    return kept


def _own_translations(slab: Slab, tolerance: float) -> NDArray[np.float64]:
    """Return the in-plane translations that map a slab onto itself, shares of its vectors."""
    fractions = slab.positions[:, :2] @ np.linalg.inv(slab.vectors)
    # Every one maps the first atom onto one of its species and plane.
    alike = (slab.numbers == slab.numbers[0]) & (slab.planes == slab.planes[0])
    same = slab.numbers[:, None] == slab.numbers
    heights = np.abs(slab.positions[:, None, 2] - slab.positions[None, :, 2])
    found = []
    for step in fractions[alike] - fractions[0]:
        apart = fractions[:, None] + step - fractions[None]
        apart = (apart - np.rint(apart)) @ slab.vectors
        hit = same & (np.hypot(apart[..., 0], apart[..., 1]) <= tolerance) & (heights <= tolerance)
        if hit.any(axis=1).all():
            found.append(step % 1.0)
    return np.array(found)
