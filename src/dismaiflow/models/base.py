"""What a generative model must be able to do to be trained, sampled and scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from dismaiflow.structures.structure_set import StructureSet


@dataclass(frozen=True)
class ModelCard:
    """What a model says of itself.

    Parameters
    ----------
    name : str
        Name under which its scores are listed.
    description : str
        One line.
    is_control : bool
        Whether it is a baseline that learns nothing.
    settings : dict
        Its settings, JSON-able.
    """

    name: str
    description: str
    is_control: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class GenerativeModel(Protocol):
    """A generative model of structures.

    A model is a class whose instances, made without arguments, have these methods. It is found by
    an entry point of the group ``dismaiflow.models`` or as ``module:Class``.
    """

    def fit(self, train: StructureSet, seed: int) -> None:
        """Learn from training structures.

        Parameters
        ----------
        train : StructureSet
            Training structures; all have the same composition.
        seed : int
            Seed of all randomness.
        """
        ...

    def sample(self, n: int, seed: int) -> StructureSet:
        """Generate structures.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            Seed of all randomness; the same seed gives the same structures.
        """
        ...

    def card(self) -> ModelCard:
        """Describe the model."""
        ...
