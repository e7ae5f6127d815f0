"""How a relaxation ended, told from its files and not from what its job believes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from dismaiflow.dft.attempts import Attempt, JoinedStep

#: How a relaxation ended: as it should; out of steps, or given up by custodian; stopped before the
#: walltime; with absurd energies or forces; without anything that can be read.
RunStatus = Literal["converged", "not_converged", "walltime", "exploded", "failed"]

#: A force no relaxed structure has, nor one on its way, eV/Å. Atoms at half a bond length push each
#: other with some 100 eV/Å.
ABSURD_FORCE = 100.0

#: Energy above that of the first step, eV per atom, that only a failed minimisation ends with:
#: a fifth to a third of what binds the atoms of a solid.
ABSURD_RISE = 1.0

#: Energy below that of the first step, eV per atom, that no relaxation gains. Free atoms that
#: condense gain less than 9.
ABSURD_FALL = 100.0

#: An atom farther than this from all others has flown away, Å. The longest bonds there are, those
#: of caesium, have 5.3 Å.
FLOWN = 6.0

#: Atoms nearer than this have fallen into each other, Å; H2, the shortest bond, has 0.74 Å.
FUSED = 0.4

#: VASP compares forces with more digits than it writes.
_SLACK = 1e-3


@dataclass(frozen=True)
class Verdict:
    """How it ended.

    Parameters
    ----------
    status : str
        `RunStatus`.
    reason : str
        In one line.
    """

    status: RunStatus
    reason: str


@dataclass(frozen=True, eq=False)
class State:
    """One end of a relaxation.

    Parameters
    ----------
    atoms : Atoms
        The structure.
    energy : float
        eV.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å; 0 along directions in which an atom may not move.
    """

    atoms: Atoms
    energy: float
    forces: NDArray[np.float64]

    @property
    def max_force(self) -> float:
        """Length of the longest force, eV/Å."""
        return float(np.linalg.norm(self.forces, axis=1).max(initial=0.0))


@dataclass(frozen=True, eq=False)
class Course:
    """What is judged.

    Parameters
    ----------
    attempts : sequence of Attempt
        All of them.
    path : sequence of JoinedStep
        The ionic steps, one at least.
    start, end : State
        The first and the last of them.
    fmax : float, optional
        Largest force that may be left, eV/Å. The run's own EDIFFG if not given.
    stop_file : bool
        Whether a STOPCAR lies in the folder.
    """

    attempts: Sequence[Attempt]
    path: Sequence[JoinedStep]
    start: State
    end: State
    fmax: float | None
    stop_file: bool


def judge(course: Course) -> Verdict:
    """Return how a relaxation ended.

    In this order: ``exploded`` if what it ends with is absurd; ``converged`` if the forces are
    small enough, or if no limit was set and all steps were made; ``walltime`` if it was asked to
    stop; ``not_converged`` otherwise.
    """
    absurd = absurdity(course.start, course.end)
    if absurd:
        return Verdict("exploded", absurd)
    last = course.path[-1]
    attempt = course.attempts[last.attempt]
    run, outcar = attempt.run, attempt.outcar
    if not last.converged and not outcar.hard_stop:
        n = attempt.max_cycles
        return Verdict(
            "not_converged", f"the electrons of the last ionic step did not converge in {n} cycles"
        )
    done = _completed(course)
    if done and last.converged:
        return Verdict("converged", done)
    forces = f"the largest force is {course.end.max_force:.3g} eV/Å after {len(course.path)} steps"
    broken = not (run.complete and outcar.finished)
    if outcar.soft_stop or outcar.hard_stop or (course.stop_file and broken):
        return Verdict("walltime", f"stopped by a STOPCAR: {forces}")
    if broken:
        return Verdict("not_converged", f"its outputs break off: {forces}")
    limit = run.tag("NSW")
    if limit is not None and len(run.steps) >= limit:
        return Verdict("not_converged", f"ran out of steps (NSW = {limit}): {forces}")
    return Verdict("not_converged", f"ended early: {forces}")


def _completed(course: Course) -> str:
    """Return why the relaxation is complete, nothing if it is not."""
    attempt = course.attempts[course.path[-1].attempt]
    run = attempt.run
    steps, own = int(run.tag("NSW") or 0), float(run.tag("EDIFFG") or 0.0)
    if steps == 0:
        return "a single point"  # whose EDIFFG is VASP's default and means nothing
    limit = course.fmax if course.fmax is not None else max(-own, 0.0)
    small = course.end.max_force <= limit * (1 + _SLACK)
    if limit > 0:
        # With a cell that relaxes VASP demands small stresses too, and says when it has them.
        moves_cell = int(run.tag("ISIF") or 2) > 2
        met = small and (attempt.outcar.accurate or not moves_cell)
        # A limit of the run's own is met when VASP says so.
        met = met or (course.fmax is None and attempt.outcar.accurate)
        return f"no force above {limit:g} eV/Å" if met else ""
    if own > 0:
        return f"the energy changed by less than {own:g} eV" if attempt.outcar.accurate else ""
    if steps <= 1:
        return "a single point"
    return f"ran its {steps} steps" if len(run.steps) >= steps else ""


def absurdity(start: State, end: State) -> str:
    """Return what is absurd about the end of a relaxation, nothing if it is sound."""
    values: list[NDArray[np.float64]] = [end.atoms.positions, end.atoms.cell.array, end.forces]
    if not (np.isfinite(end.energy) and all(np.isfinite(v).all() for v in values)):
        return "the last ionic step holds numbers that are none"
    if end.max_force > max(ABSURD_FORCE, start.max_force):
        return f"the largest force has grown to {end.max_force:.4g} eV/Å"
    rise = (end.energy - start.energy) / len(end.atoms)
    if not is_sane_energy(rise):
        return f"the energy has {'risen' if rise > 0 else 'fallen'} by {abs(rise):.3g} eV/atom"
    before, after = _nearest(start.atoms), _nearest(end.atoms)
    close = int(after.argmin())
    if after[close] < FUSED < before[close]:
        return f"atom {close} ended {after[close]:.2g} Å from another"
    flown = np.flatnonzero((after > FLOWN) & (before <= FLOWN))
    if len(flown):
        first = f"{end.atoms.symbols[flown[0]]} {flown[0]}"
        return f"{len(flown)} atoms, first {first}, ended more than {FLOWN} Å from all others"
    return ""


def is_sane_energy(rise: float) -> bool:
    """Whether the energy of a step may lie so far above that of the first, eV per atom."""
    return -ABSURD_FALL <= rise <= ABSURD_RISE


def is_sane(energy: float, first_energy: float, forces: NDArray[np.float64]) -> bool:
    """Whether an ionic step may be trained on, its electrons having converged.

    Parameters
    ----------
    energy, first_energy : float
        Of the step and of the first one, eV.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    """
    rise = (energy - first_energy) / max(len(forces), 1)
    # What the first step is compared with is none if it is none itself.
    sane = bool(np.isfinite(energy)) and (not np.isfinite(rise) or is_sane_energy(rise))
    return sane and bool(np.linalg.norm(forces, axis=1).max(initial=0.0) <= ABSURD_FORCE)


def _nearest(atoms: Atoms) -> NDArray[np.float64]:
    """Return how far the nearest other atom is from each, Å; infinity beyond `FLOWN`."""
    from ase.neighborlist import neighbor_list

    places, distances = neighbor_list("id", atoms, FLOWN)
    nearest = np.full(len(atoms), np.inf)
    np.minimum.at(nearest, places, distances)
    return nearest
