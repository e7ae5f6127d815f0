"""OUTCAR and OSZICAR, written step by step."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, TextIO

import numpy as np

from dismaiflow.dft.rehearsal.mark import NOT_DFT, VERSION, Mark
from dismaiflow.dft.rehearsal.write_vasprun import KILOBAR, LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dismaiflow.dft.rehearsal.electronic import ElectronicStep
    from dismaiflow.dft.rehearsal.geometry import Geometry
    from dismaiflow.dft.rehearsal.inputs import Inputs
    from dismaiflow.dft.rehearsal.ionic import Point

#: Plane waves that are claimed for each Å^3; parsers want a number.
_PLANE_WAVES = 64

_RULE = "-" * 104


class OutcarFile:
    """Writes OUTCAR.

    Parameters
    ----------
    stream : TextIO
        Where to.
    inputs : Inputs
        Inputs of the run.
    mark : Mark
        Goes to its first line.
    """

    def __init__(self, stream: TextIO, inputs: Inputs, mark: Mark) -> None:
        self._stream = stream
        self._inputs = inputs
        self._mark = mark

    def begin(self, now: datetime) -> None:
        """Write what comes before the first step."""
        inputs = self._inputs
        titles = [f" POTCAR:    {potcar.title}" for potcar in inputs.potcars]
        mesh = inputs.kpoints
        points = len(mesh.points)
        waves = int(_PLANE_WAVES * inputs.geometry.volume)
        self._write(
            f" vasp.{VERSION} {self._mark}",
            f" executed on             none date {now:%Y.%m.%d  %H:%M:%S}",
            " running    1 mpi-ranks, with    1 threads/rank, on    1 nodes",
            *titles,
            *titles,  # VASP says it twice, and parsers drop one half
            "   ions per type =         " + "".join(f"{n:6d}" for _, n in inputs.geometry.groups),
            f"   k-points           NKPTS = {points:6d}   k-points in BZ     NKDIM = {points:6d}"
            f"   number of bands    NBANDS= {inputs.bands:6d}",
            f"   number of dos      NEDOS =    301   number of ions     NIONS = "
            f"{len(inputs.geometry.symbols):6d}",
            f"   total plane-waves  NPLWV = {waves}",
            f"   ISPIN  = {1 + inputs.spin:6d}    spin polarized calculation?",
            f"   NELM   = {inputs.nelm:6d};   EDIFF  = {inputs.ediff:.1E}",
            f"   EDIFFG = {inputs.ediffg:.1E}   stopping-criterion for IOM",
            f"   NSW    = {inputs.nsw:6d}    number of steps for IOM",
            f"   IBRION = {inputs.ibrion:6d}    ionic relax: 0-MD 1-quasi-New 2-CG",
            f"   ISIF   = {inputs.isif:6d}    stress and relaxation",
            f"   NELECT = {inputs.electrons:13.4f}    total number of electrons",
            " k-points in reciprocal lattice and weights: ",
            *(
                "".join(f"{x:12.8f}" for x in (*point, weight))
                for point, weight in zip(mesh.points, mesh.weights, strict=True)
            ),
        )

    def electronic(self, ionic: int, step: ElectronicStep, seconds: float) -> None:
        """Write an electronic step."""
        title = f" Iteration {ionic:6d}({step.number:4d})  "
        self._write(
            "",
            f"{title:-^104}",
            "",
            f"      LOOP:  cpu time{seconds:10.4f}: real time{seconds:10.4f}",
            "",
            "  Free energy of the ion-electron system (eV)",
            "  ---------------------------------------------------",
            f"  entropy T*S    EENTRO =       {-0.0:17.8f}",
            f"  free energy    TOTEN  =       {step.energy:17.8f} eV",
            "",
            f"  energy without entropy = {step.energy:17.8f}  "
            f"energy(sigma->0) = {step.energy:17.8f}",
        )

    def close_step(
        self, geometry: Geometry, point: Point, converged: bool, moments: Sequence[float]
    ) -> None:
        """Write the results of an ionic step."""
        reason = " aborting loop because EDIFF is reached " if converged else ""
        self._write("", f"{reason:-^104}", "", f" E-fermi : {np.mean(LEVELS):9.4f}", "")
        total = f" magnetization {sum(moments):15.7f}"
        self._write(f" number of electron {self._inputs.electrons:15.7f}{total}", "")
        if len(moments) and int(self._inputs.tag("LORBIT", 0)) >= 10:
            self._magnetization(moments)
        if self._inputs.isif:
            self._stress(geometry, point)
        self._write(
            " VOLUME and BASIS-vectors are now :",
            f"  volume of cell : {geometry.volume:12.4f}",
            "      direct lattice vectors",
            *("  " + "".join(f" {x:14.9f}" for x in row) for row in geometry.cell),
            "",
            " POSITION                                       TOTAL-FORCE (eV/Angst)",
            " " + "-" * 83,
        )
        for place, force in zip(geometry.positions, point.forces, strict=True):
            row = "".join(f"{x:13.5f}" for x in place) + "".join(f"{x:14.6f}" for x in force)
            self._write(row)
        drift = "".join(f"{x:14.6f}" for x in point.forces.sum(axis=0))
        self._write(
            " " + "-" * 83,
            f"    total drift:                  {drift}",
            "",
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            "  ---------------------------------------------------",
            f"  free  energy   TOTEN  = {point.energy:17.8f} eV",
            "",
            f"  energy  without entropy={point.energy:17.8f}  "
            f"energy(sigma->0) ={point.energy:17.8f}",
        )

    def time(self, seconds: float) -> None:
        """Write how long an ionic step took."""
        self._write(f"     LOOP+:  cpu time{seconds:10.4f}: real time{seconds:10.4f}")

    def say(self, text: str) -> None:
        """Write a line of a kind that comes once."""
        self._write("", f" {text}", "")

    def end(self, began: float) -> None:
        """Write the account of the run; ``began`` is a reading of `time.monotonic`."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            "Total CPU time used (sec)": used.ru_utime + used.ru_stime,
            "User time (sec)": used.ru_utime,
            "System time (sec)": used.ru_stime,
            "Elapsed time (sec)": time.monotonic() - began,
            "Maximum memory used (kb)": float(used.ru_maxrss),
        }
        self._write(
            "",
            " General timing and accounting informations for this job:",
            " ========================================================",
            "",
            *(f"{name:>42}: {value:12.3f}" for name, value in figures.items()),
            f"{'Average memory used (kb)':>42}:          N/A",
        )

    def _magnetization(self, moments: Sequence[float]) -> None:
        rows = [
            f"{place:5d}    {0:8.3f}{0:8.3f}{moment:8.3f}{moment:8.3f}"
            for place, moment in enumerate(moments, start=1)
        ]
        total = sum(moments)
        self._write(
            "",
            " magnetization (x)",
            "",
            "# of ion       s       p       d       tot",
            "------------------------------------------",
            *rows,
            "--------------------------------------------------",
            f"tot      {0:8.3f}{0:8.3f}{total:8.3f}{total:8.3f}",
            "",
        )

    def _stress(self, geometry: Geometry, point: Point) -> None:
        kilobar = (point.stress * KILOBAR)[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
        electronvolt = kilobar / abs(KILOBAR) * geometry.volume
        self._write(
            "  FORCE on cell =-STRESS in cart. coord.  units (eV):",
            "  Direction    XX          YY          ZZ          XY          YZ          ZX",
            "  " + "-" * 86,
            "  Total " + "".join(f"{x:12.5f}" for x in electronvolt),
            "  in kB " + "".join(f"{x:12.5f}" for x in kilobar),
            f"  external pressure = {kilobar[:3].mean():11.2f} kB  Pullay stress = {0:11.2f} kB",
            "",
        )

    def _write(self, *lines: str) -> None:
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()


class OszicarFile:
    """Writes OSZICAR, and to the standard output what VASP repeats there.

    Parameters
    ----------
    streams : TextIO
        Where to.
    """

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams
        self._before: float | None = None

    def open_step(self) -> None:
        """Write the heading of the electronic steps."""
        self._write("       N       E                     dE             d eps       ncg     rms")

    def electronic(self, step: ElectronicStep) -> None:
        """Write an electronic step."""
        self._write(
            f"DAV: {step.number:3d}    {fortran(step.energy, 12)}   {fortran(step.change, 5)}"
            f"   {fortran(step.change / 2, 5)} {step.number:5d}   {abs(step.change):9.3E}"
        )

    def close_step(self, ionic: int, energy: float, moment: float | None) -> None:
        """Write the line of an ionic step."""
        change = energy if self._before is None else energy - self._before
        self._before = energy
        magnetic = "" if moment is None else f"  mag= {moment:10.4f}"
        self._write(
            f"{ionic:4d} F= {fortran(energy, 8)} E0= {fortran(energy, 8)}  "
            f"d E ={fortran(change, 6)}{magnetic}  {NOT_DFT}"
        )

    def _write(self, line: str) -> None:
        for stream in self._streams:
            stream.write(line + "\n")
            stream.flush()


def fortran(value: float, digits: int) -> str:
    """Return a number as Fortran writes it: ``-.1234E+02``."""
    mantissa, exponent = f"{abs(value):.{digits - 1}E}".split("E")
    power = int(exponent) + 1 if float(mantissa) else 0
    sign = "-" if value < 0 else "0"
    return f"{sign}.{mantissa.replace('.', '')}E{power:+03d}"
