"""Documents of the potentials room."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from dismaiflow.potentials.base import PotentialCard
from dismaiflow.store.structures import StructuresRef
from dismaiflow.structures.dataset import package_versions


class RelaxedDoc(BaseModel):
    """A relaxed set, or a part of one; structures and numbers are in the ``data`` store.

    Parameters
    ----------
    input_hash : str
        Content hash of the set that was relaxed.
    settings : dict
        How; with `settings_hash` the key under which it is found again.
    potential : PotentialCard
        With what.
    structures : StructuresRef
        The structures that converged. Their labels are ``index`` (place in the source),
        ``energy`` (eV), ``n_steps``.
    table : str
        Blob of a `dismaiflow.potentials.table.RelaxationTable`, one row for every structure.
    n_structures : int
        Structures that were given, broken ones included.
    by_status : dict of str to int
        How they ended, by status or by the reason for which they could not be tried.
    lost : list of str
        Why chunks of the set could not be read, or were not done.
    """

    kind: str = "relaxation"
    system: str
    input_hash: str
    settings: dict[str, Any]
    settings_hash: str
    potential: PotentialCard
    structures: StructuresRef
    table: str
    n_structures: int
    by_status: dict[str, int]
    lost: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=package_versions)
