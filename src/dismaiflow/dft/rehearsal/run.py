"""One run: from the inputs in a folder to the outputs in it."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dismaiflow.dft.rehearsal.electronic import electronic_steps
from dismaiflow.dft.rehearsal.failures import MESSAGES, Failure, Failures
from dismaiflow.dft.rehearsal.inputs import Inputs, read_inputs
from dismaiflow.dft.rehearsal.ionic import Freedom, Point, is_converged, method_for
from dismaiflow.dft.rehearsal.mark import VERSION
from dismaiflow.dft.rehearsal.write_outcar import OszicarFile, OutcarFile
from dismaiflow.dft.rehearsal.write_vasprun import VasprunFile
from dismaiflow.errors import DismaiError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TextIO

    from dismaiflow.dft.rehearsal.geometry import Geometry
    from dismaiflow.dft.rehearsal.mark import Mark

#: Exit status of a run that stopped with a message of VASP or died while it wrote.
DIED = 1

#: What `explode` and `collapse` do: eV for each atom, and a factor for the forces.
_ABSURD_ENERGY, _ABSURD_FORCES = 1000.0, 1000.0

#: Seconds between looks at a file that is awaited.
_LOOK = 0.05

_STOP = re.compile(r"(LSTOP|LABORT)\s*=\s*\.?T", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """How a run is rehearsed.

    Parameters
    ----------
    failures : sequence of Failure
        Failures on request.
    scf_steps : int
        Electronic steps of an ionic step; NELMIN and NELM come first.
    seconds_per_step : float
        How long an ionic step takes at least.
    memoryless : bool
        Whether the relaxation follows the forces alone, so that a restart takes the same way.
    contcar : str
        Whether CONTCAR has the ``last`` geometry that was computed or the ``next`` one.
    """

    failures: Sequence[Failure] = ()
    scf_steps: int = 6
    seconds_per_step: float = 0.0
    memoryless: bool = False
    contcar: Literal["last", "next"] = "last"


def rehearse(
    folder: Path,
    mark: Mark,
    calculator: Any,
    options: Options,
    output: TextIO | None = None,
    inputs: Inputs | None = None,
) -> int:
    """Run in a folder as VASP would.

    Parameters
    ----------
    folder : Path
        With INCAR, POSCAR, KPOINTS and POTCAR or POTCAR.spec. OUTCAR, OSZICAR, CONTCAR and
        vasprun.xml are written there, each step as it comes, and `rehearsal.json`.
    mark : Mark
        Goes into the outputs.
    calculator : ase.calculators.calculator.Calculator
        Energies, forces and stresses; magnetic moments if it has them.
    options : Options
        How.
    output : TextIO, optional
        For what VASP prints; the standard output unless given.
    inputs : Inputs, optional
        If they were read already.

    Returns
    -------
    int
        Exit status: 0, or `DIED`.

    Raises
    ------
    DismaiError
        If an input is missing, is wrong or asks for what cannot be rehearsed, or the potential
        fails.
    """
    inputs = inputs or read_inputs(folder)
    failures = Failures(options.failures, folder)
    with ExitStack() as stack:
        opened = [
            stack.enter_context((folder / name).open("w", encoding="utf-8"))
            for name in ("OUTCAR", "OSZICAR", "vasprun.xml")
        ]
        run = _Run(folder, inputs, options, failures, _evaluator(mark, calculator, inputs))
        return run.relax(_Outputs(folder, inputs, mark, opened, output or sys.stdout))


def _evaluator(mark: Mark, calculator: Any, inputs: Inputs) -> Callable[[Geometry], Point]:
    def evaluate(geometry: Geometry) -> Point:
        atoms = geometry.atoms()
        if inputs.moments:
            atoms.set_initial_magnetic_moments(inputs.moments)
        atoms.calc = calculator
        stress = np.zeros((3, 3))
        try:
            # First what is most: many calculators then have the rest at hand.
            if inputs.isif:
                stress = np.asarray(atoms.get_stress(voigt=False), dtype=float)
            forces = np.asarray(atoms.get_forces(), dtype=float)
            energy = float(atoms.get_potential_energy())
        except Exception as error:  # whatever a calculator raises
            raise DismaiError(f"potential {mark.name!r} fails ({one_line(error)})") from error
        found = getattr(calculator, "results", {}).get("magmoms") if inputs.spin else None
        moments = None if found is None else np.asarray(found, dtype=float).ravel()
        return Point(energy, forces, stress, moments)

    return evaluate


class _Outputs:
    """The files of a run, as one."""

    def __init__(
        self, folder: Path, inputs: Inputs, mark: Mark, opened: Sequence[TextIO], output: TextIO
    ) -> None:
        self._contcar = folder / "CONTCAR"
        self.console = output
        self.outcar = OutcarFile(opened[0], inputs, mark)
        self.oszicar = OszicarFile(opened[1], output)
        self.vasprun = VasprunFile(opened[2], inputs, mark)
        self.began = time.monotonic()
        now = datetime.now(UTC)
        self.say(f" running    1 mpi-ranks\n vasp.{VERSION} {mark}")
        self.outcar.begin(now)
        self.vasprun.begin(now)
        self._contcar.write_text("", encoding="utf-8")  # empty until a step is done, as VASP's

    def say(self, text: str) -> None:
        """Print as VASP does."""
        self.console.write(text + "\n")
        self.console.flush()

    def open_step(self) -> None:
        """Begin an ionic step."""
        self.vasprun.open_step()
        self.oszicar.open_step()

    def end(self, geometry: Geometry) -> None:
        """End the files."""
        self.vasprun.end(geometry)
        self.outcar.end(self.began)
        self.keep(geometry)

    def keep(self, geometry: Geometry) -> None:
        """Write CONTCAR, in one go: custodian may end this process at any time."""
        draft = self._contcar.with_suffix(".new")
        draft.write_text(geometry.text(), encoding="utf-8")
        draft.replace(self._contcar)


class _Run:
    """One attempt."""

    def __init__(
        self,
        folder: Path,
        inputs: Inputs,
        options: Options,
        failures: Failures,
        evaluate: Callable[[Geometry], Point],
    ) -> None:
        self._stopcar = folder / "STOPCAR"
        self._inputs = inputs
        self._options = options
        self._failures = failures
        self._evaluate = evaluate
        self._freedom = Freedom.of(inputs)
        self._aborted = False

    def relax(self, out: _Outputs) -> int:
        """Go from step to step and return the exit status."""
        inputs = self._inputs
        method = method_for(inputs.ibrion, self._options.memoryless)
        geometry, before = inputs.geometry, None
        for step in range(1, max(1, inputs.nsw) + 1):
            began = time.monotonic()
            failure = self._failures.due(step)
            point = self._spoiled(self._evaluate(geometry))
            out.open_step()
            converged = self._electronic(out, step, point, failure)
            if failure == "walltime":
                self._await_stopcar()
            if failure == "truncated":
                out.vasprun.tear()
                return DIED
            force = self._freedom.force(geometry, point)
            relaxed = self._is_relaxed(force, point.energy, before)
            stopped = self._stop()
            last = relaxed or stopped or step >= inputs.nsw
            self._close(out, step, geometry, point, converged, last and failure not in MESSAGES)
            out.outcar.time(time.monotonic() - began)
            after = geometry
            if not last and inputs.ibrion > 0:
                after = self._freedom.apply(geometry, method.move(force))
            if self._options.contcar == "last" or failure not in MESSAGES:
                out.keep(after if self._options.contcar == "next" else geometry)
            if failure in MESSAGES:
                out.say(MESSAGES[failure])
                return DIED
            if last:
                self._farewell(out, relaxed, stopped)
                break
            geometry, before = after, point.energy
        out.end(geometry)
        return 0

    def _electronic(self, out: _Outputs, ionic: int, point: Point, failure: str | None) -> bool:
        """Write electronic steps, in their time, and return whether they converged."""
        inputs = self._inputs
        converges = not self._failures.lasts("nelm")
        # One below NELM counts as converged.
        most = max(1, inputs.nelm - 1)
        wanted = max(self._options.scf_steps, int(inputs.tag("NELMIN", 2)))
        lines = min(wanted, most) if converges else inputs.nelm
        steps = electronic_steps(
            point.energy, len(inputs.geometry.symbols), lines, inputs.ediff, converges
        )
        pause = self._options.seconds_per_step / lines
        for number, step in enumerate(steps, start=1):
            if pause:
                time.sleep(pause)
            out.oszicar.electronic(step)
            out.outcar.electronic(ionic, step, pause)
            out.vasprun.electronic(step)
            if number == min(2, lines):
                _interrupt(failure)
            if "LABORT" in self._stop_tags():
                self._aborted = True
                return False
        return converges

    def _close(
        self,
        out: _Outputs,
        step: int,
        geometry: Geometry,
        point: Point,
        converged: bool,
        last: bool,
    ) -> None:
        inputs = self._inputs
        found = inputs.moments if point.moments is None else point.moments.tolist()
        out.outcar.close_step(geometry, point, converged, found)
        out.oszicar.close_step(step, point.energy, sum(found) if found else None)
        out.vasprun.close_step(geometry, point, last)

    def _is_relaxed(self, force: Any, energy: float, before: float | None) -> bool:
        if self._inputs.nsw <= 1 or self._inputs.ibrion < 0:
            return False
        if self._failures.lasts("unconverged"):
            return False
        return is_converged(self._inputs.ediffg, force, energy, before)

    def _spoiled(self, point: Point) -> Point:
        sign = self._failures.lasts("explode") - self._failures.lasts("collapse")
        if not sign:
            return point
        energy = point.energy + sign * _ABSURD_ENERGY * len(point.forces)
        return Point(energy, point.forces * _ABSURD_FORCES, point.stress, point.moments)

    def _stop_tags(self) -> set[str]:
        try:
            text = self._stopcar.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return set()
        return {found.upper() for found in _STOP.findall(text)}

    def _stop(self) -> bool:
        return self._aborted or bool(self._stop_tags())

    def _await_stopcar(self) -> None:
        parent = os.getppid()
        # Not for ever: who started this run may be gone.
        while not self._stop_tags() and os.getppid() == parent:
            time.sleep(_LOOK)

    def _farewell(self, out: _Outputs, relaxed: bool, stopped: bool) -> None:
        if relaxed:
            text = "reached required accuracy - stopping structural energy minimisation"
            out.outcar.say(text)
            out.say(f" {text}")
        elif stopped:
            kind = "hard" if self._aborted else "soft"
            out.outcar.say(f"{kind} stop encountered!  aborting job ...")
            self._stopcar.unlink(missing_ok=True)
        out.say(" writing wavefunctions")


def _interrupt(failure: str | None) -> None:
    if failure == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if failure == "hang":
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(_LOOK)
        raise SystemExit(DIED)
