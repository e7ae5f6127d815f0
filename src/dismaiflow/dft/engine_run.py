"""A relaxation by any calculator of ASE, with what a run of VASP would leave: frames and a verdict.

An ionic step is an iteration of the optimiser, the structure as it was given being the first, as
in VASP. The cell stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from dismaiflow.dft.harvest import HarvestedRun, HarvestRule, finite, sampled_steps
from dismaiflow.dft.verdict import State, absurdity, is_sane
from dismaiflow.errors import DismaiError, one_line
from dismaiflow.structures.frames import FrameLabel, LabelledFrames
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

#: Optimisers of ASE.
OptimizerName = Literal["bfgs", "lbfgs", "fire", "cg"]

#: A force that is none, eV/Å: optimisers divide by them.
_NO_FORCE = 1e-10


@dataclass(frozen=True)
class EngineSettings:
    """How a structure is relaxed.

    Parameters
    ----------
    fmax : float, optional
        Largest force that may be left on an atom that moves, eV/Å. Without one all steps are made,
        as in the first stage of the paper (section 4.5).
    steps : int
        Ionic steps, the start included.
    optimizer : {"bfgs", "lbfgs", "fire", "cg"}
        Of ASE.
    rule : HarvestRule
        Which steps become frames.

    Raises
    ------
    DismaiError
        If a limit makes no sense, or the optimiser is not known.
    """

    fmax: float | None = 0.1
    steps: int = 500
    optimizer: OptimizerName = "bfgs"
    rule: HarvestRule = field(default_factory=HarvestRule)

    def __post_init__(self) -> None:
        if self.optimizer not in get_args(OptimizerName):
            raise DismaiError(
                f"optimizer {self.optimizer!r}: take one of {', '.join(get_args(OptimizerName))}"
            )
        if self.steps < 1 or (self.fmax is not None and not self.fmax > 0):
            raise DismaiError(
                f"steps = {self.steps} and fmax = {self.fmax}: give one step at least, and a "
                "positive force or none"
            )


@dataclass(frozen=True, eq=False)
class _Record:
    """One ionic step; the stress as ASE has it, NaN where it is not computed."""

    positions: NDArray[np.float64]
    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]


def relax_with_engine(
    atoms: Atoms,
    calculator: Any,
    settings: EngineSettings,
    label: FrameLabel,
    parent: str = "",
    free: NDArray[np.bool_] | None = None,
) -> HarvestedRun:
    """Relax the atoms of a structure and keep its ionic steps.

    Parameters
    ----------
    atoms : Atoms
        Not changed; its constraints do not hold here.
    calculator : object
        An ASE calculator. Whatever it raises ends the relaxation, and what was computed stays.
    settings : EngineSettings
        How.
    label : FrameLabel
        What the frames bear.
    parent : str
        Name of the structure.
    free : ndarray of bool, shape (n_atoms,), optional
        Atoms that may move; all if not given.
    """
    from ase.constraints import FixAtoms

    moving = atoms.copy()
    moving.set_constraint(None if free is None else FixAtoms(mask=~free))
    teacher = _Teacher(calculator)
    moving.calc = teacher
    records: list[_Record] = []
    trouble = ""
    try:
        _optimise(moving, settings, lambda: records.append(teacher.record()))
    except _NotFinite:
        records.append(teacher.record())
    except Exception as error:  # noqa: BLE001
        # Calculators and the programs behind them raise whatever they like.
        trouble = one_line(error)
    if not records:
        return HarvestedRun("failed", trouble or "no step was made", LabelledFrames.empty())
    return _harvested(atoms, records, settings, label, parent, free, trouble, teacher.moments)


class _NotFinite(Exception):  # noqa: N818
    """Ends a relaxation of which the numbers are none any more."""


class _Teacher(Calculator):
    """Asks another calculator for all that a label has, once for each set of positions."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self._inner = inner
        self._with_stress = True

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        asked = self.atoms.copy()
        asked.set_constraint()
        asked.calc = self._inner
        # First, as some calculators would compute all else once more to have it.
        stress = self._stress(asked)
        forces = np.array(asked.get_forces(), dtype=float)
        if forces.shape != asked.positions.shape:
            raise ValueError(f"the calculator returned forces of shape {forces.shape}")
        self.results = {"forces": forces, "stress": stress}
        self.results["energy"] = self.results["free_energy"] = _free_energy(asked)
        finite_all = np.isfinite(forces).all() and np.isfinite(self.results["energy"])
        if not finite_all:
            raise _NotFinite

    def _stress(self, asked: Atoms) -> NDArray[np.float64]:
        if self._with_stress:
            try:
                return np.array(asked.get_stress(voigt=False), dtype=float).reshape(3, 3)
            except (PropertyNotImplementedError, NotImplementedError):
                self._with_stress = False
        return np.full((3, 3), np.nan)

    def record(self) -> _Record:
        assert self.atoms is not None
        found = self.results
        return _Record(
            self.atoms.get_positions(), found["energy"], found["forces"], found["stress"]
        )

    @property
    def moments(self) -> NDArray[np.float64] | None:
        """Magnetic moments of the last structure, where the calculator has them."""
        moments = getattr(self._inner, "results", {}).get("magmoms")
        return None if moments is None else np.array(moments, dtype=float)


def _free_energy(atoms: Atoms) -> float:
    """Return the energy of which the forces are the derivative."""
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except (PropertyNotImplementedError, NotImplementedError):
        return float(atoms.get_potential_energy())


def _optimise(atoms: Atoms, settings: EngineSettings, keep: Any) -> None:
    """Run the optimiser; ``keep`` is called at each ionic step, the start included."""
    from ase.optimize import BFGS, FIRE, LBFGS
    from ase.optimize.sciopt import OptimizerConvergenceError, SciPyFminCG

    optimizers = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE, "cg": SciPyFminCG}
    limit = settings.fmax or _NO_FORCE
    longest = np.linalg.norm(atoms.get_forces(), axis=1).max(initial=0.0)
    if longest <= limit or settings.steps == 1:
        keep()
        return
    optimizer = optimizers[settings.optimizer](atoms, logfile=None)
    optimizer.attach(keep)
    try:
        optimizer.run(fmax=limit, steps=settings.steps - 1)
    except OptimizerConvergenceError:
        # Its line search has lost its precision; the forces decide.
        return


def _harvested(
    atoms: Atoms,
    records: list[_Record],
    settings: EngineSettings,
    label: FrameLabel,
    parent: str,
    free: NDArray[np.bool_] | None,
    trouble: str,
    moments: NDArray[np.float64] | None,
) -> HarvestedRun:
    movable = np.ones(len(atoms)) if free is None else free.astype(float)
    start, end = (
        State(_moved(atoms, r), r.energy, r.forces * movable[:, None])
        for r in (records[0], records[-1])
    )
    status, reason = _verdict(start, end, len(records), settings, trouble)
    taken = [(n, records[n - 1]) for n in sampled_steps(len(records), settings.rule)]
    sound = [(n, r) for n, r in taken if is_sane(r.energy, start.energy, r.forces)]
    frames = LabelledFrames.build(
        StructureSet.from_atoms([_moved(atoms, r) for _, r in sound]),
        [r.energy for _, r in sound],
        [r.forces for _, r in sound],
        [r.stress for _, r in sound],
        label,
        [parent] * len(sound),
        [n for n, _ in sound],
        [n == len(records) for n, _ in sound],
    )
    return HarvestedRun(
        status=status,
        reason=reason,
        frames=frames,
        last=end.atoms,
        moments=moments if moments is not None and moments.shape == (len(atoms),) else None,
        energy=finite(end.energy),
        initial_energy=finite(start.energy),
        max_force=finite(end.max_force),
        n_steps=len(records),
        n_absurd_steps=len(taken) - len(sound),
        label=label,
    )


def _moved(atoms: Atoms, record: _Record) -> Atoms:
    made = atoms.copy()
    made.set_constraint()
    made.positions = record.positions
    made.pbc = True
    return made


def _verdict(start: State, end: State, n_steps: int, settings: EngineSettings, trouble: str) -> Any:
    """Return status and reason, as `dismaiflow.dft.verdict.judge` does for VASP."""
    absurd = absurdity(start, end)
    if absurd:
        return "exploded", absurd
    left = f"the largest force is {end.max_force:.3g} eV/Å after {n_steps} steps"
    if trouble:
        return "not_converged", f"{trouble}: {left}"
    if settings.fmax is not None:
        if end.max_force <= settings.fmax:
            return "converged", f"no force above {settings.fmax:g} eV/Å"
        if n_steps >= settings.steps:
            return "not_converged", f"ran out of steps ({settings.steps}): {left}"
        return "not_converged", f"the optimiser gave up: {left}"
    if n_steps >= settings.steps:
        return "converged", f"ran its {settings.steps} steps"
    if end.max_force <= _NO_FORCE:
        return "converged", "no force is left"
    return "not_converged", f"the optimiser gave up: {left}"
