"""Training images, made of structures when they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from dismaiflow.models.data.shuffling import equal_atoms, permutations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dismaiflow.models.base import ModelData
    from dismaiflow.models.data.fixed_cell import FixedCellData
    from dismaiflow.models.ddpm.settings import ImageSettings


class ImageSource(Protocol):
    """Something that makes images."""

    @property
    def n_items(self) -> int:
        """Images of an epoch."""
        ...

    def images(self, indices: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Return images, shape (n, C, ...), on the processor.

        Parameters
        ----------
        indices : torch.Tensor
            Items, int64.
        rng : torch.Generator
            On the processor, for augmentation.
        """
        ...


class StructureImages:
    """Images of structures, whose equal atoms change places each time they are shown.

    Parameters
    ----------
    fractions : ndarray, shape (n_structures, n_atoms, 3)
        Fractional coordinates.
    encode : callable
        Makes images, shape (n, C, ...), of fractional coordinates, shape (n, n_atoms, 3).
    groups : sequence of ndarray
        Atoms that may change places with each other (`data.shuffling.equal_atoms`).
    copies : int
        Copies of each structure in an epoch, besides itself, if any atoms may change places.
    """

    def __init__(
        self,
        fractions: NDArray[np.float64],
        encode: Callable[[torch.Tensor], torch.Tensor],
        groups: Sequence[NDArray[np.int64]] = (),
        copies: int = 0,
    ) -> None:
        self._fractions = torch.tensor(fractions)
        self._encode, self._groups = encode, groups
        # Without groups they would all be alike.
        self._copies = copies if groups else 0

    @property
    def n_items(self) -> int:
        """Images of an epoch."""
        return len(self._fractions) * (1 + self._copies)

    def images(self, indices: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Return images; see `ImageSource`."""
        shown = self._fractions[indices // (1 + self._copies)]
        if self._groups:
            order = permutations(len(shown), shown.shape[1], self._groups, rng)
            shown = shown.gather(1, order[:, :, None].expand(-1, -1, 3))
        return self._encode(shown)


def image_sources(
    data: ModelData,
    known: FixedCellData,
    watched: NDArray[np.float64] | None,
    encode: Callable[[torch.Tensor], torch.Tensor],
    settings: ImageSettings,
    model: str,
) -> tuple[StructureImages, StructureImages | None]:
    """Return the images of training, and those of validation if there are any.

    Parameters
    ----------
    data : ModelData
        Tells the system.
    known, watched
        What `ddpm.structures.known_structures` made of it.
    encode : callable
        See `StructureImages`.
    settings : ImageSettings
        How images are augmented.
    model : str
        Who asks, for messages.

    Raises
    ------
    DismaiError
        If the augmentation does not go with the system.
    """
    groups = equal_atoms(known, data.spec, settings.augmentation, model)
    train = StructureImages(known.fractions, encode, groups, settings.augmentation_copies)
    return train, None if watched is None else StructureImages(watched, encode, groups)
