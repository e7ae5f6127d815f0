"""The two scoring protocols, named and versioned."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from dismaiflow.errors import DismaiError

ProtocolName = Literal["published", "corrected"]
Alignment = Literal["fixed", "translated", "rotated", "registered", "none"]

#: Rises with every change of a number that a protocol gives; ``published`` never changes.
PROTOCOL_VERSIONS: dict[str, int] = {"published": 1, "corrected": 1}

#: The alignments of the published scripts.
PUBLISHED_ALIGNMENTS: tuple[Alignment, ...] = ("fixed", "translated", "rotated")

#: Stands for the alignment of structures that lie on no lattice.
NO_ALIGNMENT: Alignment = "none"


class ScoringProtocol(BaseModel):
    """How structures are scored.

    Parameters
    ----------
    name : {"published", "corrected"}
        ``published`` gives the numbers of the published scripts, ``corrected`` what the paper says.
    version : int
        Version of the protocol.
    alignment : str
        Alloys under ``published``: ``fixed`` (CryinGAN's script), ``translated`` (DiffCSP's) or
        ``rotated`` (CDVAE's). ``corrected`` has one for all, ``registered``. Interfaces and
        amorphous systems have ``none``.
    """

    model_config = ConfigDict(frozen=True)

    name: ProtocolName = "published"
    version: int = 0
    alignment: Alignment | None = None

    @model_validator(mode="after")
    def _fill_in(self) -> ScoringProtocol:
        alignment = self.alignment
        if alignment is None:
            alignment = "fixed" if self.name == "published" else "registered"
        published = self.name == "published"
        if alignment != NO_ALIGNMENT and (alignment in PUBLISHED_ALIGNMENTS) != published:
            raise DismaiError(
                "--alignment belongs to the published protocol; the corrected one fits a rigid "
                "motion of the lattice to all atoms"
            )
        current = PROTOCOL_VERSIONS[self.name]
        if self.version not in (0, current):
            raise DismaiError(
                f"protocol {self.name} version {self.version} is not that of this package "
                f"({current}): install the release that made it"
            )
        object.__setattr__(self, "alignment", alignment)
        object.__setattr__(self, "version", current)
        return self

    @classmethod
    def for_kind(
        cls, kind: str, name: ProtocolName = "published", alignment: Alignment | None = None
    ) -> ScoringProtocol:
        """Return the protocol for a kind of system.

        Raises
        ------
        DismaiError
            If an alignment is asked of a system that has no lattice.
        """
        if kind == "alloy":
            return cls(name=name, alignment=alignment)
        if alignment not in (None, NO_ALIGNMENT):
            raise DismaiError(f"--alignment is for alloys; this system is of kind {kind}")
        return cls(name=name, alignment=NO_ALIGNMENT)

    @property
    def key(self) -> str:
        """One word for it, e.g. ``published-1-fixed``, or ``published-1`` without a lattice."""
        parts = [self.name, str(self.version)]
        if self.alignment not in (None, NO_ALIGNMENT):
            parts.append(str(self.alignment))
        return "-".join(parts)
