"""Documents of the interfaces room."""

from __future__ import annotations

from pydantic import BaseModel

from dismaiflow.interfaces.generator import FailedPlacement
from dismaiflow.store.structures import StructuresRef


class RandomInterfacesDoc(BaseModel):
    """A part of a set of random interfaces; the structures are in the ``data`` store.

    Parameters
    ----------
    system : str
        Name of the system.
    first, last : int
        Indices of the first structure and of the one after the last.
    structures : StructuresRef
        Those that could be made.
    failed : list of FailedPlacement
        The others.
    """

    kind: str = "random_interfaces"
    system: str
    first: int
    last: int
    structures: StructuresRef
    failed: list[FailedPlacement]
