"""What the package must know of an interatomic potential, whatever computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

Engine = Literal["lammps", "chgnet", "matgl", "quippy", "command", "callable"]


class PotentialCard(BaseModel):
    """What documents say of a potential.

    Parameters
    ----------
    name : str
        As it was asked for, without the folders of a machine (``sw``, ``matgl:m3gnet_int``).
    engine : str
        What computes it.
    hash : str
        SHA-256 of all that decides its numbers: the engine, and its parameters or weights.
    weights : dict of str to str
        SHA-256 of each file of parameters, by its name.
    elements : list of str, optional
        Elements that it knows; None if it cannot tell.
    versions : dict of str to str
        Versions of the packages that compute it; not part of the hash.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    engine: Engine
    hash: str
    weights: dict[str, str] = Field(default_factory=dict)
    elements: list[str] | None = None
    versions: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Energy and forces of one structure.

    Parameters
    ----------
    energy : float
        Total energy, eV.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    """

    energy: float
    forces: NDArray[Any]


@runtime_checkable
class BatchEvaluator(Protocol):
    """Computes many structures at once, on a CPU or a GPU."""

    def evaluate(self, structures: Sequence[Atoms]) -> list[Evaluation]:
        """Return the evaluations in the order of the structures, of any sizes."""
        ...


@runtime_checkable
class Potential(Protocol):
    """An interatomic potential that is there and was checked, but computes nothing yet.

    It can be pickled, so that processes can make calculators of their own.
    """

    @property
    def card(self) -> PotentialCard:
        """What documents say of it."""
        ...

    @property
    def files(self) -> Mapping[str, Path]:
        """Its files by their names relative to a folder, for workers that have another disk."""
        ...

    def calculator(self) -> Any:
        """Return a new ASE calculator; the caller closes it if it has a ``close``."""
        ...

    def evaluator(self, device: str = "cpu") -> BatchEvaluator | None:
        """Return what computes many structures at once; None where there is nothing of the kind."""
        ...
