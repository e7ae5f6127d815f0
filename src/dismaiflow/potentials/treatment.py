"""What is done to the structures of a set before they are compared: pushed apart, relaxed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dismaiflow import __version__
from dismaiflow.metrics.overlaps import push_apart
from dismaiflow.potentials.relax_set import relax_set
from dismaiflow.potentials.relaxation import RelaxationSettings
from dismaiflow.potentials.table import RelaxationTable
from dismaiflow.settings import load_settings
from dismaiflow.structures.checks import check_structures
from dismaiflow.structures.structure_set import INDEX_LABEL

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.potentials.base import Potential
    from dismaiflow.potentials.relaxation import RelaxationResult
    from dismaiflow.structures.checks import Expectation
    from dismaiflow.structures.structure_set import StructureSet

PushProtocol = Literal["published", "corrected"]

#: Status of a structure whose atoms do not come apart.
TOO_CLOSE = "too_close"

_NOTHING = (float("nan"),) * 3

#: A force that no structure exceeds, eV/Å: nothing is moved. A document cannot hold infinity.
_ANY_FORCE = 1e30

#: Days for which a journal that nobody writes to is kept. A job that is killed at its very end
#: still finds its work, and so does the same relaxation that is asked for again.
_KEPT_DAYS = 7.0


@dataclass(frozen=True)
class RelaxationRequest:
    """What is to be done with the structures of a set; plain enough for a job's input.

    Parameters
    ----------
    settings : RelaxationSettings
        Optimiser and limits.
    push : {"published", "corrected"}, optional
        How atoms that are too close are pushed apart before; not at all without it.
    push_distance : float
        Below which they are, Å.
    """

    settings: RelaxationSettings
    push: PushProtocol | None = None
    push_distance: float = 1.5

    def plain(self) -> dict[str, Any]:
        """Return it as data."""
        return asdict(self)

    @classmethod
    def single_point(cls, settings: RelaxationSettings) -> RelaxationRequest:
        """Ask for the energies of structures where they lie."""
        return cls(replace(settings, fmax=_ANY_FORCE))

    @classmethod
    def of(cls, data: dict[str, Any]) -> RelaxationRequest:
        """Read what `plain` returned."""
        settings = RelaxationSettings(**data["settings"])
        return cls(**{**data, "settings": settings})

    @property
    def hash(self) -> str:
        """SHA-256 of what decides the relaxed structures, beside structures and potential."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Workplace:
    """Where and with how much relaxations are done.

    Parameters
    ----------
    folder : Path
        For the journals of finished structures.
    n_processes : int, optional
        Processes on the CPU; all cores that may be used by default.
    device : str
        Of PyTorch.
    """

    folder: Path
    n_processes: int | None = None
    device: str = "cpu"

    @classmethod
    def of_settings(cls, device: str = "cpu") -> Workplace:
        """Return what the settings SCRATCH_DIR and PROCESSES of this machine say."""
        settings = load_settings()
        return cls(settings.SCRATCH_DIR / "relaxations", settings.PROCESSES or None, device)


def treat_structures(
    structures: StructureSet,
    indices: NDArray[np.int64],
    expected: Expectation | None,
    request: RelaxationRequest,
    potential: Potential,
    place: Workplace,
    tell: Callable[[int], None],
) -> tuple[StructureSet, RelaxationTable]:
    """Check, push apart and relax structures.

    Parameters
    ----------
    structures : StructureSet
        What was generated.
    indices : ndarray of int64, shape (n_structures,)
        Their places in the source.
    expected : Expectation, optional
        What they must be like.
    request : RelaxationRequest
        What is to be done.
    potential : Potential
        With what.
    place : Workplace
        Where. What is finished is in a journal there, and not done again after an interruption.
    tell : callable
        Called with the number of structures that are done since the last call.

    Returns
    -------
    relaxed : StructureSet
        Those that converged, with the labels ``index``, ``energy``, ``initial_energy`` (eV) and
        ``n_steps``.
    table : RelaxationTable
        What became of every structure.
    """
    kept: Any = np.arange(len(structures))
    rows: list[tuple[str, str, tuple[float, ...]]] = []
    if expected is not None:
        kept, bad = check_structures(structures, indices, expected)
        rows += [(b.reason, b.detail, (b.index, 0, 0, *_NOTHING)) for b in bad]
    if request.push is not None:
        structures, kept, failed = _pushed(structures, kept, request.push, request.push_distance)
        rows += [(TOO_CLOSE, text, (indices[i], 0, 0, *_NOTHING)) for i, text in failed]
    tell(len(rows))
    # Every structure is taken as periodic, as its fingerprint is, whatever a file says.
    todo = structures.select(kept)
    todo = replace(todo, pbc=np.ones_like(todo.pbc))
    results = relax_set(
        todo,
        potential,
        request.settings,
        n_processes=place.n_processes,
        device=place.device,
        journal=_journal(place.folder, todo, potential, request),
        on_result=lambda *_: tell(1),
    )
    for where, result in zip(indices[kept], results, strict=True):
        rows.append((result.status, result.detail, (int(where), *_numbers(result))))
    table = RelaxationTable.concatenate([RelaxationTable.from_rows(rows)])
    return _relaxed(todo, indices[kept], results), table


def _journal(
    folder: Path, structures: StructureSet, potential: Potential, request: RelaxationRequest
) -> Path:
    """Return the file that keeps what is finished, named by all that decides it."""
    card = potential.card
    said = [structures.content_hash, card.hash, request.hash, card.versions, __version__]
    key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    _sweep(folder)
    return folder / f"{key[:32]}.journal"


def _pushed(
    structures: StructureSet, kept: Any, protocol: PushProtocol, distance: float
) -> tuple[StructureSet, Any, list[tuple[int, str]]]:
    """Push the atoms of the structures apart; those in which they do not part are told."""
    positions = structures.positions.copy()
    apart, failed = [], []
    for i in kept:
        part = structures.slice_of(int(i))
        result = push_apart(positions[part], structures.cells[i], distance, protocol=protocol)
        if result.separated:
            positions[part] = result.positions
            apart.append(int(i))
        else:
            text = result.reason or f"atoms are too close after {result.n_iterations} iterations"
            failed.append((int(i), text))
    moved = replace(structures, positions=positions)
    return moved, np.array(apart, dtype=np.int64), failed


def _numbers(result: RelaxationResult) -> tuple[float, ...]:
    """Return the numbers of a result in the order of a table's columns, after the index."""
    none = float("nan")
    values = (result.initial_energy, result.final_energy, result.max_force)
    return (result.n_steps, result.n_force_calls, *(none if v is None else v for v in values))


def _relaxed(
    structures: StructureSet, indices: Any, results: list[RelaxationResult]
) -> StructureSet:
    """Return the structures that converged, with what is known of them as labels."""
    good = [i for i, result in enumerate(results) if result.status == "converged"]
    chosen = structures.select(np.array(good, dtype=np.int64))
    positions = [results[i].positions for i in good] or [np.zeros((0, 3))]
    labels = {
        INDEX_LABEL: np.asarray(indices)[good].astype(np.int64),
        "energy": np.array([results[i].final_energy for i in good], dtype=float),
        "initial_energy": np.array([results[i].initial_energy for i in good], dtype=float),
        "n_steps": np.array([results[i].n_steps for i in good], dtype=np.int64),
    }
    return replace(chosen, positions=np.concatenate(positions), labels=labels)


def _sweep(folder: Path) -> None:
    """Remove journals that nobody has written to for long."""
    oldest = time.time() - _KEPT_DAYS * 86400
    for path in folder.glob("*.journal*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
