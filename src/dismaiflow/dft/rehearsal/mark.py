"""How all that a rehearsal writes says that it is one."""

from __future__ import annotations

from dataclasses import dataclass

#: Version of VASP whose files are imitated.
VERSION = "6.4.2"

#: What no file of VASP has.
NOT_DFT = "REHEARSAL-not-DFT"


@dataclass(frozen=True)
class Mark:
    """What stands for the engine.

    Parameters
    ----------
    name : str
        Name of the potential.
    hash : str
        SHA-256 of what decides its numbers.
    """

    name: str
    hash: str

    def __str__(self) -> str:
        """Return what the files say."""
        return f"{NOT_DFT} (potential {self.name} {self.hash[:12]})"
