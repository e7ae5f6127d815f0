"""What an OUTCAR says that a vasprun.xml does not: why the run ended, and the moments."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.dft.vasprun import ByteStream

#: Phrases that are looked for.
_PHRASES = {
    "accurate": b"reached required accuracy",
    "soft_stop": b"soft stop encountered",
    "hard_stop": b"hard stop encountered",
    "finished": b"General timing and accounting",
    "rehearsal": b"REHEARSAL",
}

_MOMENTS = b"magnetization (x)"
_BLOCK = 1 << 20

#: Bytes at the end of the file in which the last moments are looked for.
_TAIL = 4 << 20


@dataclass(frozen=True, eq=False)
class Outcar:
    """What was found.

    Parameters
    ----------
    accurate : bool
        VASP stopped because its criterion on forces (or energies) was met.
    soft_stop, hard_stop : bool
        A STOPCAR ended it, after an ionic step or amid one, of which the electrons have then not
        converged.
    finished : bool
        The file has its end.
    rehearsal : bool
        It bears the mark of a rehearsal.
    moments : ndarray, shape (n_atoms,), optional
        The last magnetic moments of the atoms, Bohr magnetons.
    """

    accurate: bool = False
    soft_stop: bool = False
    hard_stop: bool = False
    finished: bool = False
    rehearsal: bool = False
    moments: NDArray[np.float64] | None = None


def read_outcar(stream: ByteStream) -> Outcar:
    """Search an OUTCAR, as far as it goes.

    Parameters
    ----------
    stream : binary stream
        The file.
    """
    seen = dict.fromkeys(_PHRASES, False)
    tail = b""
    longest = max(map(len, _PHRASES.values()))
    try:
        while block := stream.read1(_BLOCK):
            # A phrase may lie across two blocks.
            searched = tail[-longest:] + block
            for name, phrase in _PHRASES.items():
                seen[name] = seen[name] or phrase in searched
            tail = (tail + block)[-_TAIL:]
    except (EOFError, OSError, zlib.error):
        pass
    return Outcar(**seen, moments=_last_moments(tail))


def _last_moments(tail: bytes) -> NDArray[np.float64] | None:
    """Read the last table of moments, as far as it goes; None without one."""
    start = tail.rfind(_MOMENTS)
    if start < 0:
        return None
    moments = []
    in_table = False
    for line in tail[start:].decode("latin-1").splitlines()[1:]:
        words = line.split()
        if in_table and not (words and words[0].isdigit()):
            break
        if in_table:
            try:
                moments.append(float(words[-1]))
            except ValueError:
                return None
        in_table = in_table or line.lstrip().startswith("---")
    return np.array(moments) if moments else None
