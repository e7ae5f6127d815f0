"""From the folder of a VASP run to labelled frames and a verdict.

The paper trains its potential on ionic steps of DFT relaxations "starting from the 5th ionic step
of every relaxation with an interval of 10 steps", and on the relaxed structures (section 4.6, doi
10.1039/d4dd00100a).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.dft.attempts import (
    Attempt,
    JoinedStep,
    join_attempts,
    read_attempts,
    read_corrections,
    read_potential_names,
    stop_file,
    unwrapped,
)
from dismaiflow.dft.labels import label_of, loosest_ediff
from dismaiflow.dft.verdict import Course, State, is_sane, judge
from dismaiflow.structures.frames import FrameLabel, LabelledFrames
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems.interface_blocks import Harvest as HarvestRule

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from dismaiflow.dft.verdict import RunStatus


@dataclass(frozen=True, eq=False)
class HarvestedRun:
    """A relaxation as its files tell it.

    Parameters
    ----------
    status : str
        `dismaiflow.dft.verdict.RunStatus`.
    reason : str
        Why it ended so, in one line.
    frames : LabelledFrames
        The ionic steps that were taken; none if nothing could be read.
    last : Atoms, optional
        The last structure, atoms in the order in which they were given; None without any step.
    moments : ndarray, shape (n_atoms,), optional
        Its magnetic moments, Bohr magnetons.
    energy, initial_energy : float, optional
        Of the last and of the first ionic step, eV.
    max_force : float, optional
        Largest force on an atom that may move, in the last step, eV/Å.
    n_steps : int
        Ionic steps, through all restarts.
    n_restarts : int
        How often VASP was started again.
    n_unconverged_steps : int
        Steps that were to be taken and were left out because their electrons did not converge.
    n_absurd_steps : int
        Steps left out because a number is none, or energy or forces are absurd (`is_sane`).
    label : FrameLabel, optional
        Where the numbers of the last step come from.
    corrections : list of str
        Handlers of custodian that acted.
    """

    status: RunStatus
    reason: str
    frames: LabelledFrames
    last: Atoms | None = None
    moments: NDArray[np.float64] | None = None
    energy: float | None = None
    initial_energy: float | None = None
    max_force: float | None = None
    n_steps: int = 0
    n_restarts: int = 0
    n_unconverged_steps: int = 0
    n_absurd_steps: int = 0
    label: FrameLabel | None = None
    corrections: list[str] = field(default_factory=list)

    @property
    def structure(self) -> Structure | None:
        """The last structure for pymatgen, with the site property ``magmom`` if it is known."""
        if self.last is None:
            return None
        from pymatgen.io.ase import AseAtomsAdaptor

        made = AseAtomsAdaptor.get_structure(self.last)
        if self.moments is not None:
            made.add_site_property("magmom", self.moments.tolist())
        return made


def sampled_steps(n_steps: int, rule: HarvestRule) -> list[int]:
    """Return the ionic steps that are taken, from 1: each once, the final one always the last.

    Parameters
    ----------
    n_steps : int
        Steps of the relaxation.
    rule : HarvestRule
        The first one taken, and the interval.
    """
    if n_steps < 1:
        return []
    return [*range(rule.first, n_steps, rule.interval), n_steps]


def read_run(
    folder: Path,
    rule: HarvestRule,
    order: NDArray[np.int64] | None = None,
    parent: str = "",
    free: NDArray[np.bool_] | None = None,
    fmax: float | None = None,
    start: NDArray[np.float64] | None = None,
) -> HarvestedRun:
    """Read a VASP run that has ended, however it did.

    Parameters
    ----------
    folder : Path
        Where it ran. vasprun.xml and OUTCAR may be gzipped; attempts before the last are found in
        custodian's ``error.N.tar.gz``.
    rule : HarvestRule
        Which ionic steps are taken.
    order : ndarray of int, shape (n_atoms,), optional
        The order in which the atoms were written for VASP: its atom i is atom ``order[i]`` of the
        structure that was given, ``written = [given[k] for k in order]``. All that is returned has
        the order that was given. VASP's own if not given.
    parent : str
        Name of the structure, which the frames bear.
    free : ndarray of bool, shape (n_atoms,), optional
        Atoms that may move, in the order that was given. What the run says itself if not given.
    fmax : float, optional
        Largest force that may be left, eV/Å; the run's own limit (EDIFFG) if not given.
    start : ndarray, shape (n_atoms, 3), optional
        Fractional coordinates that were given, in their order. VASP wraps atoms into the cell; with
        them each is moved back to the image that it came from.

    Returns
    -------
    HarvestedRun
        With the status ``failed`` if no ionic step can be read; nothing is raised for damaged
        files.
    """
    attempts = read_attempts(folder)
    path = join_attempts(attempts)
    corrections = read_corrections(folder)
    n_restarts = len(attempts) - 1
    reason = _unusable(attempts, path, order)
    if reason:
        return HarvestedRun(
            "failed",
            reason,
            LabelledFrames.empty(),
            n_restarts=n_restarts,
            corrections=corrections,
        )
    run = attempts[path[-1].attempt].run
    path = unwrapped(path, start if start is None or order is None else np.asarray(start)[order])
    view = _View(run.symbols, order)
    first, last = path[0], path[-1]
    movable = _movable(free, attempts, view)
    start_state, end_state = (
        State(view.atoms(s), s.step.energy, view.rows(s.step.forces) * movable)
        for s in (first, last)
    )
    verdict = judge(Course(attempts, path, start_state, end_state, fmax, stop_file(folder)))
    ediff, names = loosest_ediff(attempts), read_potential_names(folder)
    labels = [label_of(attempt, ediff, names) for attempt in attempts]
    taken = [(n, path[n - 1]) for n in sampled_steps(len(path), rule)]
    converged = [(n, step) for n, step in taken if step.converged]
    sound = [(n, step) for n, step in converged if _is_sound(step, first)]
    moments = attempts[last.attempt].outcar.moments
    return HarvestedRun(
        status=verdict.status,
        reason=verdict.reason,
        frames=_frames(sound, view, labels, parent, len(path)),
        last=end_state.atoms,
        moments=(
            view.rows(moments) if moments is not None and len(moments) == len(run.symbols) else None
        ),
        energy=finite(last.step.energy),
        initial_energy=finite(first.step.energy),
        max_force=finite(end_state.max_force),
        n_steps=len(path),
        n_restarts=n_restarts,
        n_unconverged_steps=len(taken) - len(converged),
        n_absurd_steps=len(converged) - len(sound),
        label=labels[last.attempt],
        corrections=corrections,
    )


class _View:
    """Puts what VASP wrote into the order that was given."""

    def __init__(self, symbols: list[str], order: NDArray[np.int64] | None) -> None:
        n = len(symbols)
        self.place = np.arange(n) if order is None else np.argsort(np.asarray(order))
        self._symbols = [symbols[i] for i in self.place]

    def rows(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[self.place]

    def atoms(self, joined: JoinedStep) -> Atoms:
        from ase import Atoms

        step = joined.step
        positions = self.rows(step.fractions) @ step.cell
        return Atoms(self._symbols, positions=positions, cell=step.cell, pbc=True)


def _movable(
    free: NDArray[np.bool_] | None, attempts: list[Attempt], view: _View
) -> NDArray[np.float64]:
    """Return 1 for the directions in which atoms may move, else 0; in the order that was given."""
    if free is not None:
        return np.repeat(np.asarray(free, dtype=float)[:, None], 3, axis=1)
    said = [attempt.run.selective for attempt in attempts if attempt.run.selective is not None]
    if not said:
        return np.ones((len(view.place), 3))
    return view.rows(said[-1].astype(float))


def _is_sound(joined: JoinedStep, first: JoinedStep) -> bool:
    step = joined.step
    finite_all = np.isfinite(step.cell).all() and np.isfinite(step.fractions).all()
    return bool(finite_all) and is_sane(step.energy, first.step.energy, step.forces)


def _frames(
    taken: list[tuple[int, JoinedStep]],
    view: _View,
    labels: list[FrameLabel],
    parent: str,
    n_steps: int,
) -> LabelledFrames:
    """Return the steps as frames, in the units and with the signs of ASE."""
    from ase.units import GPa

    parts = []
    for label, group in itertools.groupby(taken, lambda item: labels[item[1].attempt]):
        numbered = list(group)
        steps = [joined.step for _, joined in numbered]
        parts.append(
            LabelledFrames.build(
                StructureSet.from_atoms([view.atoms(joined) for _, joined in numbered]),
                [step.energy for step in steps],
                [view.rows(step.forces) for step in steps],
                # kB, positive under compression.
                [step.stress * -0.1 * GPa for step in steps],
                label,
                [parent] * len(steps),
                [n for n, _ in numbered],
                [n == n_steps for n, _ in numbered],
            )
        )
    return LabelledFrames.concatenate(parts)


def finite(value: float) -> float | None:
    """Return a number that a document can hold."""
    return value if np.isfinite(value) else None


def _unusable(
    attempts: list[Attempt], path: list[JoinedStep], order: NDArray[np.int64] | None
) -> str:
    """Return why nothing can be made of the files, nothing if it can."""
    if not attempts[-1].run.generator and not path:
        return "there is no vasprun.xml that can be read"
    if not path:
        return "vasprun.xml holds no finished ionic step"
    written = {len(joined.step.fractions) for joined in path}
    if len(written) > 1 or (order is not None and written != {len(order)}):
        wanted = "" if order is None else f", not {len(order)}"
        return f"vasprun.xml holds {' and '.join(map(str, sorted(written)))} atoms{wanted}"
    return ""
