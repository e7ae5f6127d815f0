"""Potentials by name, as the command takes them.

``sw`` and ``tersoff`` (LAMMPS), ``chgnet``, ``matgl:DIR``, ``quippy:XML``, ``command:FILE`` (the
recipe of a calculator in another environment) and ``module:callable``.

All checks are made when a potential is opened; the heavy packages are imported only where one is
opened that needs them.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError, one_line, suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from dismaiflow.potentials.base import Potential

#: One line for --help.
POTENTIAL_HELP = "sw, tersoff, chgnet, matgl:DIR, quippy:XML, command:FILE or module:callable"

#: Names that stand alone, and those that a path follows.
_PLAIN = ("sw", "tersoff", "chgnet")
_WITH_PATH = {"matgl": "DIR", "quippy": "XML", "command": "FILE"}

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def open_potential(
    name: str, elements: Sequence[str] = (), folder: Path | None = None
) -> Potential:
    """Find a potential and check all that can be checked without computing anything.

    Parameters
    ----------
    name : str
        One of `POTENTIAL_HELP`; also the name on a card, if ``folder`` is given.
    elements : sequence of str, optional
        Elements that it must know. For ``tersoff`` they choose its parameters.
    folder : Path, optional
        Where its files lie by the names of `Potential.files`, instead of at the path in ``name``:
        a worker that has another disk puts them there.

    Returns
    -------
    Potential
        It can be pickled; nothing is started or kept in memory.

    Raises
    ------
    DismaiError
        If the name is not known, a package, a program or a file is missing, weights are those of
        another architecture, or an element is not known.
    """
    head, colon, rest = name.strip().partition(":")
    if head in _PLAIN:
        if colon:
            raise DismaiError(f"potential {name!r}: nothing follows {head}; say {head!r}")
        return _open_plain(head, elements)
    if head in _WITH_PATH:
        if not rest:
            raise DismaiError(f"potential {name!r}: say {head}:{_WITH_PATH[head]}")
        return _open_path(head, Path(rest).expanduser(), elements, folder)
    if _FACTORY.fullmatch(name.strip()) and not _meant(head):
        return _open_factory(name.strip())
    raise DismaiError(
        f"unknown potential {name!r}: {suggestion(head, [*_PLAIN, *_WITH_PATH])} "
        f"(use {POTENTIAL_HELP})"
    )


def check_answers(potential: Potential, atoms: Atoms) -> None:
    """Compute one structure, so that what does not work at all is known before any work starts.

    Parameters
    ----------
    potential : Potential
        The potential.
    atoms : Atoms
        A structure of those that will be computed; not changed.

    Raises
    ------
    DismaiError
        If the calculator cannot be made, its client does not answer, it raises, or its energy and
        forces have another shape than the structure. Values that are not finite may be the fault
        of the structure and are let through.
    """
    calculator = None
    try:
        calculator = potential.calculator()
        inner = atoms.copy()
        inner.calc = calculator
        forces = inner.get_forces()
        float(inner.get_potential_energy())
    except DismaiError:
        raise
    except (Exception, SystemExit) as error:  # whatever other programs raise
        raise DismaiError(
            f"potential {potential.card.name!r} fails for the first structure ({one_line(error)})"
        ) from error
    finally:
        close = getattr(calculator, "close", None)
        if close is not None:
            close()
    if forces.shape != (len(atoms), 3):
        raise DismaiError(
            f"potential {potential.card.name!r} returns forces of the shape {forces.shape} for "
            f"{len(atoms)} atoms"
        )


def _open_plain(name: str, elements: Sequence[str]) -> Potential:
    opened: Potential
    if name == "chgnet":
        opened = _part("machine_learning").open_chgnet(elements)
    else:
        opened = _part("empirical").open_lammps(name, elements)
    return opened


def _open_path(head: str, path: Path, elements: Sequence[str], folder: Path | None) -> Potential:
    # Without the folders of this machine.
    name = f"{head}:{path.name or path.resolve().name}"
    opened: Potential
    if head == "matgl":
        opened = _part("matgl_folder").open_matgl(folder or path, elements, name)
    else:
        place = folder / path.name if folder else path
        if head == "quippy":
            opened = _part("quippy").open_quippy(place, elements, name)
        else:
            opened = _part("sockets").open_command(place, elements, name)
    return opened


def _open_factory(name: str) -> Potential:
    try:
        opened: Potential = _part("factories").open_factory(name)
    except SystemExit as error:  # would end the command without a word
        raise DismaiError(f"potential {name!r}: ends the program ({one_line(error)})") from error
    return opened


def _part(module: str) -> Any:
    """Import a module of this room, and with it ASE."""
    return import_module(f"dismaiflow.potentials.{module}")


def _meant(head: str) -> bool:
    """Whether what stands for a module is rather a misspelt potential."""
    from importlib.util import find_spec

    try:
        there = find_spec(head.partition(".")[0]) is not None
    except (ImportError, ValueError):
        there = False
    return not there and suggestion(head, [*_PLAIN, *_WITH_PATH]).startswith("did you mean")
