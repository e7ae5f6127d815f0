"""What a worker needs to run VASP, and whether written inputs are what was meant."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dismaiflow.dft.commands import (
    GAMMA,
    STANDARD,
    command_fault,
    potcar_fault,
    vasp_commands,
)
from dismaiflow.dft.defaults import VALENCES, DftBlock, dft_block
from dismaiflow.dft.settings_table import free_cell_warning, stages_of
from dismaiflow.errors import DismaiError, one_line
from dismaiflow.potentials.cards import installed_versions
from dismaiflow.settings import load_settings
from dismaiflow.structures.files import explain_os_error

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.dft.settings_table import Setting
    from dismaiflow.systems import SystemSpec

#: Packages of the extra ``dft``.
PACKAGES = ("atomate2", "custodian")

#: Free space with which a run can begin, bytes: outputs and restarts of one of 264 atoms.
_MIN_FREE = 2_000_000_000


@dataclass(frozen=True)
class Finding:
    """What one check has found.

    Parameters
    ----------
    name : str
        What was checked.
    state : {"ok", "warning", "fault"}
        Whether the worker can work so.
    line : str
        What is so, or what is wrong and how to mend it.
    """

    name: str
    state: Literal["ok", "warning", "fault"]
    line: str


def need_dft() -> None:
    """Check that the packages of the extra ``dft`` are installed.

    Raises
    ------
    DismaiError
        If one is missing.
    """
    missing = [name for name in PACKAGES if name not in installed_versions(PACKAGES)]
    if missing:
        raise DismaiError(
            f"the DFT calculations need the package {missing[0]}: pip install 'dismaiflow[dft]'"
        )


def check_worker(spec: SystemSpec | None = None, command: str | None = None) -> list[Finding]:
    """Check this machine as a worker that runs VASP.

    Parameters
    ----------
    spec : SystemSpec, optional
        Whose potentials must be there; those of the paper's elements by default.
    command : str, optional
        A command in the place of the one that is set.
    """
    need_dft()
    versions = installed_versions((*PACKAGES, "emmet-core", "pymatgen"))
    found = [Finding("packages", "ok", ", ".join(f"{k} {v}" for k, v in versions.items()))]
    found += _check_commands(command)
    found += [_check_potentials(spec), _check_scratch()]
    stages = stages_of(spec) if spec is not None else ()
    warnings = [spec and free_cell_warning(spec, stage, None) for stage in stages]
    return [*found, *(Finding("cell", "warning", line) for line in warnings if line)]


def _check_commands(command: str | None) -> list[Finding]:
    words = vasp_commands({} if command is None else {"vasp_cmd": command})
    named = STANDARD if command is None else "--command"
    fault = command_fault(words[STANDARD], named)
    if fault:
        standard = Finding("VASP", "fault", fault)
    else:
        standard = Finding("VASP", "ok", f"{shlex.join(words[STANDARD])} (set by {named})")
    line = shlex.join(words[GAMMA])
    # custodian looks at the last word alone, and says nothing when it falls back.
    if words[GAMMA] and shutil.which(words[GAMMA][-1]):
        return [standard, Finding("VASP, gamma only", "ok", f"{line} (set by {GAMMA})")]
    return [
        standard,
        Finding(
            "VASP, gamma only",
            "warning",
            f"{line!r} is not on this machine, so that the gamma-only interfaces silently run with "
            f"the command above, in about twice the time: set {GAMMA}",
        ),
    ]


def _check_potentials(spec: SystemSpec | None) -> Finding:
    """Check that the POTCAR files are there, with the paper's valence electrons."""
    block = dft_block(spec)
    family = block.dft.potential_family
    fault = potcar_fault(list(block.potentials.values()), family) or valence_fault(block)
    if fault:
        return Finding("POTCAR", "fault", fault)
    return Finding("POTCAR", "ok", f"{', '.join(block.potentials.values())} of {family}")


def valence_fault(block: DftBlock) -> str | None:
    """Return which POTCAR files have other valence electrons than the paper's, in one line.

    Parameters
    ----------
    block : DftBlock
        Settings whose POTCAR files are there.

    Returns
    -------
    str or None
        None if there is none.
    """
    from pymatgen.io.vasp import PotcarSingle

    family = block.dft.potential_family
    others = []
    for symbol, name in block.potentials.items():
        valence = PotcarSingle.from_symbol_and_functional(name, family).zval
        if symbol in VALENCES and abs(valence - VALENCES[symbol]) > 1e-6:
            others.append(
                f"{name} of {family} has {valence:g} valence electrons, but the paper's has "
                f"{VALENCES[symbol]}"
            )
    return f"{'; '.join(others)}: take another in dft.potentials" if others else None


def _check_scratch() -> Finding:
    folder = load_settings().SCRATCH_DIR
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        line = f"{explain_os_error(error, folder)} (DISMAI_SCRATCH_DIR)"
        return Finding("scratch", "fault", line)
    free = shutil.disk_usage(folder).free
    text = f"{folder}, {free / 1e9:.0f} GB free"
    if free < _MIN_FREE:
        line = f"{text}: a run takes up to 2 GB; free some or set DISMAI_SCRATCH_DIR"
        return Finding("scratch", "warning", line)
    return Finding("scratch", "ok", text)


@dataclass(frozen=True, eq=False)
class WrittenInputs:
    """Inputs as VASP will find them in a folder.

    Parameters
    ----------
    incar : dict
        Tags.
    symbols : list of str
        Elements of the entries of POSCAR, in order.
    potentials : list of str
        Entries of POTCAR or POTCAR.spec, in order.
    kpoints : tuple of (str, tuple)
        Style and divisions.
    n_atoms, n_free : int
        All atoms, and those that may move.
    """

    incar: dict[str, Any]
    symbols: list[str]
    potentials: list[str]
    kpoints: tuple[str, tuple[int, ...]]
    n_atoms: int
    n_free: int


def read_inputs(folder: Path) -> WrittenInputs:
    """Read the inputs in a folder.

    Raises
    ------
    DismaiError
        If pymatgen cannot read one, or POSCAR holds what is no number.
    """
    from pymatgen.io.vasp import Incar, Kpoints, Poscar, Potcar

    poscar = _read(folder / "POSCAR", Poscar.from_file)
    lattice, places = poscar.structure.lattice.matrix, poscar.structure.frac_coords
    if not (np.isfinite(lattice).all() and np.isfinite(places).all()):
        raise DismaiError(f"{folder / 'POSCAR'}: a coordinate or cell length is NaN or infinite")
    mesh = _read(folder / "KPOINTS", Kpoints.from_file)
    spec = folder / "POTCAR.spec"
    if spec.is_file():
        potentials = spec.read_text("utf-8").split()
    else:
        potentials = list(_read(folder / "POTCAR", Potcar.from_file).symbols)
    flags = poscar.selective_dynamics
    n_atoms = len(poscar.structure)
    return WrittenInputs(
        incar=dict(_read(folder / "INCAR", Incar.from_file)),
        symbols=list(poscar.site_symbols),
        potentials=potentials,
        kpoints=(mesh.style.name.lower(), tuple(int(n) for n in mesh.kpts[0])),
        n_atoms=n_atoms,
        n_free=n_atoms if flags is None else sum(bool(any(row)) for row in flags),
    )


def _read(path: Path, reader: Callable[[Any], Any]) -> Any:
    try:
        return reader(os.fspath(path))
    except Exception as error:  # noqa: BLE001 (a parser of others)
        raise DismaiError(f"{path}: cannot be read back ({one_line(error)})") from None


def _same(found: Any, wanted: Any) -> bool:
    """Compare values of INCAR; pymatgen writes words as it likes, ``Pe`` for ``PE``."""
    if isinstance(wanted, float | int) and not isinstance(wanted, bool):
        return isinstance(found, float | int) and abs(found - wanted) <= 1e-9 * abs(wanted)
    if isinstance(wanted, list):
        flags = found.split() if isinstance(found, str) else found
        return [str(flag).strip(".").upper()[0] for flag in flags] == [str(w)[0] for w in wanted]
    return str(found).lower() == str(wanted).lower()


def check_inputs(
    folder: Path, settings: tuple[Setting, ...], free: NDArray[Any] | None = None
) -> WrittenInputs:
    """Check that the inputs in a folder are those of a table of settings.

    Parameters
    ----------
    folder : Path
        Where they are.
    settings : tuple of Setting
        What they were made from.
    free : ndarray of bool, optional
        The atoms that may move; all without it.

    Raises
    ------
    DismaiError
        If one is missing, cannot be read, or is not what the table says.
    """
    found = read_inputs(folder)
    wanted = {(s.file, s.key): s.value for s in settings}
    for (file, key), value in wanted.items():
        plain = file == "INCAR" and not isinstance(value, dict) and not key.startswith("LDAU")
        if plain and not _same(found.incar.get(key), value):
            raise DismaiError(f"{folder}: INCAR has {key} = {found.incar.get(key)}, not {value}")
    terms = wanted.get(("INCAR", "LDAUU"), {})
    if any(symbol in terms for symbol in found.symbols) != ("LDAUU" in found.incar):
        raise DismaiError(f"{folder}: INCAR has the wrong DFT+U for {', '.join(found.symbols)}")
    if len(set(found.symbols)) != len(found.symbols):
        raise DismaiError(f"{folder}: the sites of POSCAR are not sorted by element")
    names = [wanted.get(("POTCAR", symbol)) for symbol in found.symbols]
    if names != found.potentials:
        raise DismaiError(f"{folder}: POTCAR holds {found.potentials}, but POSCAR needs {names}")
    n_free = found.n_atoms if free is None else int(free.sum())
    if found.n_free != n_free:
        raise DismaiError(f"{folder}: POSCAR frees {found.n_free} atoms, not {n_free}")
    return found
