"""vasprun.xml, written step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from dismaiflow.dft.rehearsal.mark import VERSION, Mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from dismaiflow.dft.rehearsal.electronic import ElectronicStep
    from dismaiflow.dft.rehearsal.geometry import Geometry
    from dismaiflow.dft.rehearsal.inputs import Inputs
    from dismaiflow.dft.rehearsal.ionic import Point

#: kB of one eV/Å^3; VASP counts compression positive, ASE tension.
KILOBAR = -1602.1766208

#: Level of the occupied and of the empty bands, which are flat and make-believe, eV.
LEVELS = (-1.0, 1.0)

#: Values of tags that an INCAR leaves out, as far as parsers ask for them.
_DEFAULTS: dict[str, Any] = {
    "PREC": "Normal", "ALGO": "Normal", "ISPIN": 1, "NELM": 60, "NELMIN": 2, "EDIFF": 1e-4,
    "ISMEAR": 1, "SIGMA": 0.2, "LREAL": False, "LORBIT": 0, "GGA": "--", "METAGGA": "--",
    "AEXX": 0.0, "HFSCREEN": 0.0, "LHFCALC": False, "LDAU": False, "LUSE_VDW": False,
    "LNONCOLLINEAR": False, "LSORBIT": False, "LCHIMAG": False, "ISYM": 2, "POTIM": 0.5,
    "NSW": 0, "ISIF": 2,
}  # fmt: skip


class VasprunFile:
    """Writes vasprun.xml, with the digits that VASP gives.

    Parameters
    ----------
    stream : TextIO
        Where to.
    inputs : Inputs
        Inputs of the run.
    mark : Mark
        Goes to ``generator/subversion``.
    """

    def __init__(self, stream: TextIO, inputs: Inputs, mark: Mark) -> None:
        self._stream = stream
        self._inputs = inputs
        self._mark = mark

    def begin(self, now: datetime) -> None:
        """Write what comes before the first step."""
        inputs = self._inputs
        generator = {
            "program": "vasp", "version": VERSION, "subversion": str(self._mark),
            "platform": "none", "date": f"{now:%Y %m %d}", "time": f"{now:%H:%M:%S}",
        }  # fmt: skip
        parameters = {
            **_DEFAULTS, **inputs.incar, "IBRION": inputs.ibrion, "EDIFFG": inputs.ediffg,
            "NBANDS": inputs.bands, "NELECT": inputs.electrons,
        }  # fmt: skip
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<modeling>"]
        lines += [" <generator>", *_tags(generator), " </generator>"]
        lines += [" <incar>", *_tags(inputs.incar), " </incar>"]
        lines += self._kpoints()
        lines += [' <parameters><separator name="general">', *_tags(parameters)]
        lines += [" </separator></parameters>", *self._atoms()]
        lines += _structure(inputs.geometry, "initialpos")
        self._write(lines)

    def open_step(self) -> None:
        """Begin an ionic step."""
        self._write([" <calculation>"])

    def electronic(self, step: ElectronicStep) -> None:
        """Write an electronic step."""
        self._write(["  <scstep>", *_energies(step.energy), "  </scstep>"])

    def tear(self) -> None:
        """Write the begin of forces that never come: the process dies here."""
        self._stream.write('  <varray name="forces">\n   <v>   0.0123')
        self._stream.flush()

    def close_step(self, geometry: Geometry, point: Point, last: bool) -> None:
        """Write the results of an ionic step, and the bands if it is the last one."""
        lines = [*_structure(geometry), *_array("forces", point.forces)]
        if self._inputs.isif:
            lines += _array("stress", point.stress * KILOBAR)
        lines += _energies(point.energy)
        if last:
            lines += self._bands()
        self._write([*lines, " </calculation>"])

    def end(self, geometry: Geometry) -> None:
        """Write what comes after the last step."""
        self._write([*_structure(geometry, "finalpos"), "</modeling>"])

    def _write(self, lines: Iterable[str]) -> None:
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()

    def _kpoints(self) -> list[str]:
        mesh = self._inputs.kpoints
        divisions = "".join(f"{n:9d}" for n in mesh.divisions)
        shift = "".join(f"{x:17.8f}" for x in mesh.shift)
        generation = [f'  <generation param="{mesh.style}">']
        if mesh.style != "listgenerated":
            generation += [
                f'   <v type="int" name="divisions">{divisions} </v>',
                f'   <v name="usershift">{shift} </v>',
            ]
        return [
            " <kpoints>", *generation, "  </generation>", *_array("kpointlist", mesh.points),
            *_array("weights", mesh.weights[:, None]), " </kpoints>",
        ]  # fmt: skip

    def _atoms(self) -> list[str]:
        geometry = self._inputs.geometry
        lines = [
            " <atominfo>", f"  <atoms>{len(geometry.symbols):8d} </atoms>",
            f"  <types>{len(geometry.groups):8d} </types>", '  <array name="atoms"><set>',
        ]  # fmt: skip
        for number, (symbol, count) in enumerate(geometry.groups, start=1):
            lines += [f"    <rc><c>{symbol:<2}</c><c>{number:4d}</c></rc>"] * count
        lines += ["  </set></array>", '  <array name="atomtypes"><set>']
        for (symbol, count), potcar in zip(geometry.groups, self._inputs.potcars, strict=True):
            lines.append(
                f"    <rc><c>{count:4d}</c><c>{symbol:<2}</c><c>{0:16.8f}</c>"
                f"<c>{potcar.valence:16.8f}</c><c>{escape(potcar.title)}</c></rc>"
            )
        return [*lines, "  </set></array>", " </atominfo>"]

    def _bands(self) -> list[str]:
        inputs = self._inputs
        occupied = int(np.ceil(inputs.electrons / 2))
        rows = [
            f"       <r>{LEVELS[place >= occupied]:10.4f} {float(place < occupied):9.4f} </r>"
            for place in range(inputs.bands)
        ]
        lines = ["  <eigenvalues><array><set>"]
        for spin in range(1, 2 + inputs.spin):
            lines.append(f'    <set comment="spin {spin}">')
            for number in range(1, len(inputs.kpoints.points) + 1):
                lines += [f'     <set comment="kpoint {number}">', *rows, "     </set>"]
            lines.append("    </set>")
        lines += ["  </set></array></eigenvalues>", "  <dos>"]
        lines += [f'   <i name="efermi">{np.mean(LEVELS):16.8f} </i>', "   <total><array><set>"]
        for spin in range(1, 2 + inputs.spin):
            # Without a density of states, but with the Fermi level that parsers look for here.
            rows = [f"      <r>{level:10.4f} {0:10.4f} {0:10.4f} </r>" for level in LEVELS]
            lines += [f'    <set comment="spin {spin}">', *rows, "    </set>"]
        return [*lines, "   </set></array></total>", "  </dos>"]


def _structure(geometry: Geometry, name: str | None = None) -> list[str]:
    inverse = np.linalg.inv(geometry.cell).T
    named = f" name={quoteattr(name)}" if name else ""
    lines = [
        f"  <structure{named}>", "   <crystal>", *_array("basis", geometry.cell),
        f'    <i name="volume">{geometry.volume:17.8f} </i>', *_array("rec_basis", inverse),
        "   </crystal>", *_array("positions", geometry.scaled),
    ]  # fmt: skip
    if geometry.free is not None:
        flags = ["   <v>" + "".join(f" {'FT'[int(x)]}" for x in row) for row in geometry.free]
        lines += ['   <varray name="selective" type="logical">']
        lines += [f"{line} </v>" for line in flags] + ["   </varray>"]
    return [*lines, "  </structure>"]


def _array(name: str, rows: NDArray[Any]) -> list[str]:
    lines = [f'   <varray name="{name}">']
    lines += ["    <v>" + "".join(f" {x:16.8f}" for x in row) + " </v>" for row in rows]
    return [*lines, "   </varray>"]


def _energies(energy: float) -> list[str]:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    lines = [f'    <i name="{name}">{energy:16.8f} </i>' for name in names]
    return ["   <energy>", *lines, "   </energy>"]


def _tags(tags: dict[str, Any]) -> list[str]:
    return [_tag(name, value) for name, value in tags.items()]


def _tag(name: str, value: Any) -> str:
    several = isinstance(value, list)
    values: Sequence[Any] = value if several else [value]
    element = "v" if several else "i"
    kind, text = "", ""
    if all(isinstance(x, bool) for x in values):
        kind, text = "logical", " ".join("FT"[x] for x in values)
    elif all(isinstance(x, int) and not isinstance(x, bool) for x in values):
        kind, text = "int", " ".join(str(x) for x in values)
    elif all(isinstance(x, int | float) for x in values):
        text = " ".join(f"{x:.8f}" if abs(x) >= 1e-3 or not x else f"{x:.8e}" for x in values)
    else:
        kind, text = "string", " ".join(str(x) for x in values)
    typed = f' type="{kind}"' if kind else ""
    return f"  <{element}{typed} name={quoteattr(name)}>{escape(text)}</{element}>"
