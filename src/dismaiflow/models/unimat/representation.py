"""Structures as videos, a frame for each atom (paper, sections 2.2 and 4.2.4).

Yang et al., arXiv:2311.09235; 10.1039/d4dd00100a. The rule by which the composition is read back is
that of models/unimat of github.com/ertekin-research-group/Dismai-Bench.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dismaiflow.models.unimat.settings import UniMatSettings

#: Fractional range below which all atoms lie in one plane, and nothing can be scaled.
_PLANE = 1e-9


@dataclass(frozen=True)
class Video:
    """How structures of one composition become videos, and are read back.

    Parameters
    ----------
    lowest, span : tuple of float
        Smallest fractional coordinate of the training set along each axis, and from there to the
        largest, which are 0 and 1 in a video.
    counts : tuple of int
        Atoms of each species; their frames follow each other, and the n-th species has the n-th
        pixel of a frame, row by row.
    frame_size : tuple of int
        Rows and columns of a frame.
    absent : float
        Value of the pixels of other species.
    """

    lowest: tuple[float, ...]
    span: tuple[float, ...]
    counts: tuple[int, ...]
    frame_size: tuple[int, int]
    absent: float

    @classmethod
    def of_training(
        cls, fractions: NDArray[np.float64], counts: Sequence[int], settings: UniMatSettings
    ) -> Video:
        """Scale to the range of training structures.

        Parameters
        ----------
        fractions : ndarray, shape (n, n_atoms, 3)
            Fractional coordinates.
        counts : sequence of int
            Atoms of each species.
        settings : UniMatSettings
            Size of a frame, and value of absent pixels.

        Raises
        ------
        DismaiError
            If a frame has fewer pixels than there are species.
        """
        rows, columns = settings.frame_size
        if len(counts) > rows * columns:
            raise DismaiError(
                f"unimat: frame_size {rows} x {columns} has no pixel for each of {len(counts)} "
                "species: choose a larger one"
            )
        lowest, highest = fractions.min((0, 1)), fractions.max((0, 1))
        span = np.where(highest - lowest > _PLANE, highest - lowest, 1.0)
        return cls(
            tuple(lowest.tolist()),
            tuple(span.tolist()),
            tuple(counts),
            settings.frame_size,
            settings.absent_value,
        )

    @classmethod
    def from_plain(cls, facts: Mapping[str, Any]) -> Video:
        """Return what `dataclasses.asdict` has made plain, and JSON has kept."""
        parts: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
        }
        return cls(**parts)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Channels, frames, rows and columns of a video."""
        return (3, sum(self.counts), *self.frame_size)

    def encode(self, fractions: torch.Tensor) -> torch.Tensor:
        """Make videos.

        Parameters
        ----------
        fractions : torch.Tensor, shape (n, n_atoms, 3)
            Fractional coordinates, atoms grouped by species.

        Returns
        -------
        torch.Tensor, shape (n, 3, n_atoms, rows, columns)
            In single precision.
        """
        n, n_atoms = fractions.shape[:2]
        lowest, span = fractions.new_tensor(self.lowest), fractions.new_tensor(self.span)
        scaled = ((fractions - lowest) / span).float().movedim(2, 1)
        pixels = torch.full((n, 3, n_atoms, self._n_pixels), self.absent)
        pixels[:, :, torch.arange(n_atoms), self._own_pixels()] = scaled
        return pixels.reshape(n, *self.shape)

    def decode(self, videos: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Read structures back.

        Parameters
        ----------
        videos : torch.Tensor, shape (n, 3, n_atoms, rows, columns)
            On the processor.

        Returns
        -------
        fractions : ndarray, shape (n, n_atoms, 3)
            From the pixels that the atoms should have, whether or not they have others.
        wrong : ndarray of bool, shape (n, n_atoms)
            Frames of which another pixel is not absent: the atom is of another species. A pixel is
            absent if one of its channels, rounded, is; whether the atom's own pixel is absent is,
            as published, not looked at.
        """
        n, n_atoms = len(videos), videos.shape[2]
        pixels = videos.double().reshape(n, 3, n_atoms, self._n_pixels)
        own, atoms = self._own_pixels(), torch.arange(n_atoms)
        scaled = pixels[:, :, atoms, own].movedim(1, 2)
        # Rounded to -1 is what lies nearer to it than to 0, where the coordinates begin.
        absent = (pixels < self.absent / 2).any(1)
        absent[:, atoms, own] = True
        fractions = scaled * scaled.new_tensor(self.span) + scaled.new_tensor(self.lowest)
        return fractions.numpy(), ~absent.all(2).numpy()

    @property
    def _n_pixels(self) -> int:
        return self.frame_size[0] * self.frame_size[1]

    def _own_pixels(self) -> torch.Tensor:
        """Return the pixel of each atom."""
        return torch.repeat_interleave(torch.arange(len(self.counts)), torch.tensor(self.counts))
