"""The two scoring protocols, named and versioned."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from dismaiflow.errors import DismaiError

ProtocolName = Literal["published", "corrected"]
Alignment = Literal["fixed", "translated", "rotated", "registered"]

#: Rises with every change of a number that a protocol gives; ``published`` never changes.
PROTOCOL_VERSIONS: dict[str, int] = {"published": 1, "corrected": 1}

#: The alignments of the published scripts.
PUBLISHED_ALIGNMENTS: tuple[Alignment, ...] = ("fixed", "translated", "rotated")


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
        ``rotated`` (CDVAE's). ``corrected`` has one for all, ``registered``.
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
        if (alignment in PUBLISHED_ALIGNMENTS) != (self.name == "published"):
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

    @property
    def key(self) -> str:
        """One word for it, e.g. ``published-1-fixed``."""
        return f"{self.name}-{self.version}-{self.alignment}"
