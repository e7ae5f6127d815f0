"""Relaxation of the atoms of one structure, with the conjugate gradient of the paper.

The protocol is that of sections 4.1.2, 4.1.3 and 4.3 (doi 10.1039/d4dd00100a): the cell is fixed,
SciPy's nonlinear conjugate gradient (Polak-Ribière) moves the atoms until no force is larger than
0.05 eV/Å, and structures that get there within 1000 iterations count.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.potentials.base import Evaluation

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from dismaiflow.systems.blocks import Relaxation

Status = Literal["converged", "not_converged", "exploded", "errored"]

#: Computes energy and forces of the structure that is being relaxed.
Evaluate = Callable[["Atoms"], Evaluation]

#: Acceptance above ``fmax`` in the published scripts, eV/Å.
PUBLISHED_TOLERANCE = 0.001


@dataclass(frozen=True)
class RelaxationSettings:
    """How structures are relaxed, and when that is given up.

    `max_displacement`, and `max_energy_fall` with `max_force_growth`, are looked at after each
    iteration, and at the end, where forces are too large; trial points of a line search may be
    anywhere. They are far from what relaxations do. The structures of the paper gain up to 1 eV per
    atom (Tables S2 and S3), and free atoms that condense less than 9. A start in which atoms
    overlap may gain any amount, but its forces fall with its energy. Both together, a deep fall and
    forces that grow, are seen where a potential has a hole at short distances.

    Parameters
    ----------
    optimizer : {"cg", "fire", "bfgs", "lbfgs"}
        ``cg`` is the protocol of the paper, the others are those of ASE.
    fmax : float
        The optimiser stops once no force is longer, eV/Å.
    max_steps : int
        Iterations.
    tolerance : float
        A structure whose forces are longer by so much in the end still counts as converged, eV/Å:
        0.001 in the published scripts, 0 in the corrected protocol.
    max_displacement : float
        Å from the start; longer ones are endless flights.
    max_energy_fall : float
        eV per atom below the start, together with
    max_force_growth : float
        a largest force so many times that of the start (which counts as 100 eV/Å at least).
    min_distance : float
        Atoms nearer than this in the end have fallen into each other, Å, even if no force is left.
        The shortest bond there is, that of H2, has 0.74 Å. 0 asks for nothing, as the published
        scripts do.
    """

    optimizer: Literal["cg", "fire", "bfgs", "lbfgs"] = "cg"
    fmax: float = 0.05
    max_steps: int = 1000
    tolerance: float = PUBLISHED_TOLERANCE
    max_displacement: float = 1e4
    max_energy_fall: float = 100.0
    max_force_growth: float = 10.0
    min_distance: float = 0.4

    @classmethod
    def from_block(
        cls, block: Relaxation, protocol: Literal["published", "corrected"]
    ) -> RelaxationSettings:
        """Return the settings of a system under a scoring protocol.

        Raises
        ------
        DismaiError
            If the system asks for a relaxation of the cell.
        """
        if block.relax_cell:
            raise DismaiError(
                "dataset/relaxation/relax_cell: only atoms are relaxed here; set it to false"
            )
        published = protocol == "published"
        return cls(
            optimizer=block.optimizer,
            fmax=block.fmax,
            max_steps=block.max_steps,
            tolerance=PUBLISHED_TOLERANCE if published else 0.0,
            min_distance=0.0 if published else cls.min_distance,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, for documents and keys."""
        return dataclasses.asdict(self)


@dataclass(eq=False)
class RelaxationResult:
    """What became of one structure.

    Parameters
    ----------
    status : {"converged", "not_converged", "exploded", "errored"}
        ``not_converged`` ran out of iterations, or of precision in a line search.
    positions : ndarray, shape (n_atoms, 3)
        Å, not wrapped into the cell: where the optimiser stopped; after an error the last iteration
        before it.
    n_steps : int
        Finished iterations of the optimiser. The published scripts count the recorded structures
        less two, which is the same: they record the start, each iteration, and the end once more.
        A start without forces takes no step.
    n_force_calls : int
        Evaluations of energy and forces; a line search needs several per iteration.
    initial_energy, final_energy : float or None
        Total energies of the start and of `positions`, eV; None if the first evaluation failed.
    max_force : float or None
        Length of the longest force at `positions`, eV/Å.
    seconds : float
        Wall time; in a batch shared with the others.
    detail : str
        Why it did not converge, in one line.
    """

    status: Status
    positions: NDArray[np.float64]
    n_steps: int = 0
    n_force_calls: int = 0
    initial_energy: float | None = None
    final_energy: float | None = None
    max_force: float | None = None
    seconds: float = 0.0
    detail: str = ""


def relax(atoms: Atoms, calculator: Any, settings: RelaxationSettings) -> RelaxationResult:
    """Move the atoms of a structure into a minimum of the energy.

    Parameters
    ----------
    atoms : Atoms
        Not changed. Its constraints do not hold here.
    calculator : object
        An ASE calculator. Whatever it raises becomes a result with the status ``errored``. Before
        the first evaluation its ``forget()`` is called if it has one, otherwise ``reset()``:
        neighbour lists of another structure would change the last digits.
    settings : RelaxationSettings
        How.
    """
    inner = atoms.copy()
    inner.set_constraint()
    is_new = True

    def evaluate(moved: Atoms) -> Evaluation:
        nonlocal is_new
        if is_new:
            _forget(calculator)
            inner.calc = calculator
            is_new = False
        inner.set_positions(moved.positions)
        # Forces first: some calculators would compute the energy alone, and then once more.
        forces = inner.get_forces()
        return Evaluation(inner.get_potential_energy(), forces)

    return relax_with(atoms, evaluate, settings)


def _forget(calculator: Any) -> None:
    """Drop what a calculator keeps of the structure before."""
    for name in ("forget", "reset"):
        if hasattr(calculator, name):
            getattr(calculator, name)()
            return


def relax_with(atoms: Atoms, evaluate: Evaluate, settings: RelaxationSettings) -> RelaxationResult:
    """Do what `relax` does, with a function that computes energy and forces.

    Parameters
    ----------
    atoms : Atoms
        Not changed.
    evaluate : callable
        Called once for each set of positions, with a copy of the structure.
    settings : RelaxationSettings
        How.
    """
    return _Course(atoms, evaluate, settings).run()


class _Exploded(Exception):  # noqa: N818
    """Ends a relaxation that leads nowhere."""


class _Broken(Exception):  # noqa: N818
    """A structure or an evaluation that is none."""


class _Surface(Calculator):
    """The energy surface for optimisers of ASE: one evaluation for each set of positions."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, evaluate: Evaluate) -> None:
        super().__init__()
        self.n_calls = 0
        self._evaluate = evaluate

    def check_state(self, atoms: Any, tol: float = 0.0) -> list[str]:
        """Return what changed: only positions do, and ASE's own comparison is slow."""
        known = self.atoms is not None and np.array_equal(atoms.positions, self.atoms.positions)
        return [] if known else ["positions"]

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.n_calls += 1
        evaluation = self._evaluate(self.atoms)
        energy = float(evaluation.energy)
        forces = np.array(evaluation.forces, dtype=float)
        if forces.shape != self.atoms.positions.shape:
            raise _Broken(f"the potential returned forces of shape {forces.shape}")
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise _Broken(f"the potential returned NaN or infinity in evaluation {self.n_calls}")
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


@dataclass
class _Point:
    """A structure on the way."""

    positions: NDArray[np.float64]
    energy: float
    max_force: float


class _Course:
    """One relaxation."""

    def __init__(self, atoms: Atoms, evaluate: Evaluate, settings: RelaxationSettings) -> None:
        self._settings = settings
        self._surface = _Surface(evaluate)
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._atoms.calc = self._surface
        self._start: _Point | None = None
        self._last: _Point | None = None
        self._n_steps = 0

    def run(self) -> RelaxationResult:
        begin = time.perf_counter()
        given = self._atoms.get_positions()
        status: Status
        try:
            status, detail = self._relax()
        except _Exploded as error:
            status, detail = "exploded", str(error)
        except _Broken as error:
            status, detail = "errored", str(error)
        except Exception as error:  # noqa: BLE001
            # Calculators raise whatever they like.
            status, detail = "errored", one_line(error)
        start, last = self._start, self._last
        return RelaxationResult(
            status=status,
            positions=last.positions if last else given,
            n_steps=self._n_steps,
            n_force_calls=self._surface.n_calls,
            initial_energy=start.energy if start else None,
            final_energy=last.energy if last else None,
            max_force=last.max_force if last else None,
            seconds=time.perf_counter() - begin,
            detail=detail,
        )

    def _relax(self) -> tuple[Status, str]:
        settings = self._settings
        if len(self._atoms) == 0:
            raise _Broken("the structure has no atoms")
        if not (np.isfinite(self._atoms.positions).all() and np.isfinite(self._atoms.cell).all()):
            raise _Broken("the positions or the cell of the structure are not finite")
        self._start = self._last = self._point()
        ended_by = ""
        # Otherwise ASE takes a step before it looks.
        if self._start.max_force >= settings.fmax:
            ended_by = self._optimise()
        self._last = self._point()
        self._check_course()
        self._check_distances()
        if self._last.max_force <= settings.fmax + settings.tolerance:
            return "converged", ""
        return "not_converged", f"a force of {self._last.max_force:.4g} eV/Å is left {ended_by}"

    def _point(self) -> _Point:
        longest = float(np.linalg.norm(self._atoms.get_forces(), axis=1).max())
        energy = float(self._atoms.get_potential_energy())
        return _Point(self._atoms.get_positions(), energy, longest)

    def _optimise(self) -> str:
        """Run the optimiser of ASE; return what ended it, if forces are left."""
        from ase.optimize import BFGS, FIRE, LBFGS
        from ase.optimize.sciopt import OptimizerConvergenceError, SciPyFminCG

        optimizers = {"cg": SciPyFminCG, "fire": FIRE, "bfgs": BFGS, "lbfgs": LBFGS}
        optimizer = optimizers[self._settings.optimizer](self._atoms, logfile=None)

        def watch() -> None:
            # Observers are called with the start first.
            self._n_steps = optimizer.nsteps
            self._last = self._point()
            self._check_course()

        optimizer.attach(watch)
        try:
            optimizer.run(fmax=self._settings.fmax, steps=self._settings.max_steps)
        except OptimizerConvergenceError:
            # As published, the forces decide, at the last point that was tried.
            return f"after {self._n_steps} steps, where the line search lost its precision"
        return f"after {self._n_steps} steps"

    def _check_course(self) -> None:
        """End a hopeless relaxation before it takes all its steps."""
        assert self._start is not None
        assert self._last is not None
        start, now, settings = self._start, self._last, self._settings
        if now.max_force <= settings.fmax + settings.tolerance:
            return
        shift = float(np.linalg.norm(now.positions - start.positions, axis=1).max())
        if shift > settings.max_displacement:
            raise _Exploded(f"an atom moved by {shift:.4g} Å in {self._n_steps} steps")
        fall = (start.energy - now.energy) / len(now.positions)
        growth = now.max_force / max(start.max_force, 100.0)
        if fall > settings.max_energy_fall and growth > settings.max_force_growth:
            raise _Exploded(
                f"the energy fell by {fall:.4g} eV/atom to a place with forces of "
                f"{now.max_force:.4g} eV/Å in {self._n_steps} steps"
            )

    def _check_distances(self) -> None:
        limit = self._settings.min_distance
        if limit <= 0:
            return
        from ase.neighborlist import neighbor_list

        distances = neighbor_list("d", self._atoms, limit)
        if len(distances):
            raise _Exploded(f"two atoms ended {distances.min():.2g} Å apart")
