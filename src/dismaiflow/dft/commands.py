"""The command that runs VASP, or its stand-in, and the potentials that VASP needs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Variables of the environment that say how VASP is called, for any cell and for gamma only.
STANDARD, GAMMA = "ATOMATE2_VASP_CMD", "ATOMATE2_VASP_GAMMA_CMD"

#: pymatgen's setting for the folder of the licensed potentials.
POTCAR_FOLDER = "PMG_VASP_PSP_DIR"


def rehearsal_command(potential: str, fail: Sequence[str]) -> list[str]:
    """Return the command of the stand-in for VASP, of this very Python."""
    words = [sys.executable, "-m", "dismaiflow.dft.rehearsal", "--potential", potential]
    for case in fail:
        words += ["--fail", case]
    return words


def vasp_commands(run_kwargs: Mapping[str, Any] | None = None) -> dict[str, list[str]]:
    """Return the words of the commands that run VASP, by the variable that sets them.

    Parameters
    ----------
    run_kwargs : dict, optional
        A Maker's ``run_vasp_kwargs``, which stand above the variables.

    Raises
    ------
    DismaiError
        If one cannot be read as a command.
    """
    from atomate2 import SETTINGS

    given = run_kwargs or {}
    texts = {
        STANDARD: given.get("vasp_cmd", SETTINGS.VASP_CMD),
        GAMMA: given.get("vasp_gamma_cmd", SETTINGS.VASP_GAMMA_CMD),
    }
    try:
        return {name: shlex.split(os.path.expandvars(text)) for name, text in texts.items()}
    except ValueError as error:
        raise DismaiError(f"{STANDARD} or {GAMMA} is no command ({error}): mend its quotes") from (
            None
        )


def command_fault(words: Sequence[str], named: str = STANDARD) -> str | None:
    """Return why a command cannot be run on this machine, in one line, or None.

    Its first word must be there and, behind a launcher such as ``srun``, one that is called after
    VASP.

    Parameters
    ----------
    words : sequence of str
        The command.
    named : str
        What sets it.
    """
    if not words:
        return f"the command is empty: give the one that runs VASP by {named}"
    programs = [words[0], *(word for word in words[1:] if Path(word).name.startswith("vasp"))]
    missing = next((word for word in programs if shutil.which(word) is None), None)
    if missing is None:
        return None
    return (
        f"{missing!r} of the command {shlex.join(words)!r} is not on this machine: load its "
        f"module, or set {named} before the worker starts"
    )


def check_command(run_kwargs: Mapping[str, Any] | None = None) -> None:
    """Refuse to start a VASP that is not there.

    Raises
    ------
    DismaiError
        If this machine does not have it; the job can be tried again elsewhere.
    """
    fault = command_fault(vasp_commands(run_kwargs)[STANDARD])
    if fault:
        raise DismaiError(f"VASP cannot be started: {fault}")


def potcar_fault(symbols: Sequence[str], family: str) -> str | None:
    """Return why the POTCAR files of some potentials cannot be had, in one line, or None."""
    from pymatgen.core import SETTINGS
    from pymatgen.io.vasp import PotcarSingle

    folder = SETTINGS.get(POTCAR_FOLDER)
    if not folder:
        return (
            f"no folder of VASP's licensed potentials is set: give {POTCAR_FOLDER}, as a variable "
            "or in ~/.config/.pmgrc.yaml (`pmg config -p` prepares it)"
        )
    faults: dict[str, str] = {}
    for symbol in symbols:
        try:
            PotcarSingle.from_symbol_and_functional(symbol, family)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a user's files)
            faults[symbol] = one_line(error)
    if not faults:
        return None
    first = next(iter(faults.values()))
    return f"{folder}: no usable POTCAR {', '.join(faults)} of {family} ({first})"
