"""Writes the files of a VASP run from ionic steps that are given, as VASP 6 lays them out."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from dismaiflow.dft.harvest import HarvestRule

if TYPE_CHECKING:
    from pathlib import Path


#: Takes every step.
EACH = HarvestRule(first=1, interval=1)


@dataclass
class Step:
    """An ionic step: eV, eV/Å, and kB with VASP's sign."""

    atoms: Atoms
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    n_cycles: int = 3


@dataclass
class Run:
    """One start of VASP."""

    steps: list[Step]
    incar: dict = field(default_factory=dict)
    #: Where the file is cut off, in bytes.
    cut: int | None = None
    said: str = " reached required accuracy - stopping structural energy minimisation\n"
    finished: bool = True
    moments: list[float] | None = None
    subversion: str = "20Jul23 (build Jan 01 2024 00:00:00) complex parallel"
    selective: np.ndarray | None = None
    title: str = "PAW_PBE {} 01Jan2000"


def steps_of(n=4, force=0.05, n_cycles=3):
    """Return ionic steps of two atoms that come to rest, as VASP would write them."""
    rng = np.random.default_rng(5)
    steps = []
    for i in range(n):
        atoms = Atoms("CoO", [[0.1, 0, 0], [2.0 + 0.01 * i, 0, 0]], cell=[4, 5, 6], pbc=True)
        forces = np.array([[force * (n - i), 0, 0], [-force * (n - i), 0, 0]])
        stress = rng.normal(size=(3, 3))
        steps.append(Step(atoms, -10.0 - 0.1 * i, forces, stress + stress.T, n_cycles))
    return steps


INCAR = {
    "ENCUT": 450.0,
    "EDIFF": 1e-5,
    "EDIFFG": -0.1,
    "NSW": 500,
    "NELM": 60,
    "IBRION": 2,
    "ISIF": 2,
    "ISPIN": 2,
    "ISMEAR": 0,
    "SIGMA": 0.05,
    "PREC": "Accurate",
    "LREAL": "Auto",
    "GGA": "PE",
    "LASPH": True,
}


def _rows(values, tag="v", form="{:16.8f}") -> str:
    lines = ("".join(form.format(x) for x in row) for row in values)
    return "".join(f"   <{tag}>{line} </{tag}>\n" for line in lines)


def _tag(name, value) -> str:
    if isinstance(value, list):
        kind = ' type="int"' if all(isinstance(x, int) for x in value) else ""
        return f'  <v{kind} name="{name}"> {" ".join(map(str, value))} </v>\n'
    if isinstance(value, bool):
        return f'  <i type="logical" name="{name}"> {"T" if value else "F"} </i>\n'
    if isinstance(value, int):
        return f'  <i type="int" name="{name}">{value:6d}</i>\n'
    if isinstance(value, str):
        return f'  <i type="string" name="{name}"> {value}</i>\n'
    return f'  <i name="{name}">{value:16.8f}</i>\n'


def _structure(atoms, name, selective) -> str:
    title = f' name="{name}"' if name else ""
    flags = ""
    if selective is not None:
        words = np.where(selective, "T", "F")
        flags = f'  <varray name="selective" type="logical">\n{_rows(words, form="{:>5}")}'
        flags += "  </varray>\n"
    inverse = np.linalg.inv(atoms.cell.array).T
    return (
        f' <structure{title}>\n  <crystal>\n   <varray name="basis">\n{_rows(atoms.cell.array)}'
        f'   </varray>\n   <i name="volume">{atoms.get_volume():16.8f}</i>\n'
        f'   <varray name="rec_basis">\n{_rows(inverse)}   </varray>\n  </crystal>\n'
        f'  <varray name="positions">\n{_rows(atoms.get_scaled_positions(wrap=False))}'
        f"  </varray>\n{flags} </structure>\n"
    )


def vasprun_text(run: Run) -> str:
    """Return a vasprun.xml."""
    tags = INCAR | run.incar
    first = run.steps[0].atoms
    symbols = first.get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    energy = "".join(
        f'    <i name="{name}">{{:20.8f}}</i>\n'
        for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    )
    atom_rows = "".join(
        f"    <rc><c>{s:2s}</c><c>{kinds.index(s) + 1:4d}</c></rc>\n" for s in symbols
    )
    kind_rows = "".join(
        f"    <rc><c>{symbols.count(s):4d}</c><c>{s:2s}</c><c> 1.0</c><c> 1.0</c>"
        f"<c> {run.title.format(s)} </c></rc>\n"
        for s in kinds
    )
    parts = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n',
        '  <i name="program" type="string">vasp </i>\n',
        '  <i name="version" type="string">6.4.2  </i>\n',
        f'  <i name="subversion" type="string">{run.subversion} </i>\n </generator>\n',
        " <incar>\n" + "".join(_tag(k, v) for k, v in tags.items()) + " </incar>\n",
        ' <kpoints>\n  <generation param="Gamma">\n',
        '   <v type="int" name="divisions"> 1 1 1 </v>\n',
        '   <v name="usershift"> 0.0 0.0 0.0 </v>\n  </generation>\n',
        '  <varray name="kpointlist">\n   <v> 0.0 0.0 0.0 </v>\n  </varray>\n',
        '  <varray name="weights">\n   <v> 1.0 </v>\n  </varray>\n </kpoints>\n',
        ' <parameters>\n  <separator name="general" >\n',
        "".join(_tag(k, v) for k, v in tags.items()) + _tag("AEXX", 0.0) + _tag("LHFCALC", False),
        f"  </separator>\n </parameters>\n <atominfo>\n  <atoms>{len(symbols):8d} </atoms>\n",
        f"  <types>{len(kinds):8d} </types>\n",
        '  <array name="atoms" >\n   <field type="string">element</field>\n',
        f'   <field type="int">atomtype</field>\n   <set>\n{atom_rows}   </set>\n  </array>\n',
        '  <array name="atomtypes" >\n   <field type="int">atomspertype</field>\n   <set>\n',
        f"{kind_rows}   </set>\n  </array>\n </atominfo>\n",
        _structure(first, "initialpos", run.selective),
    ]
    for number, step in enumerate(run.steps):
        parts.append(" <calculation>\n")
        for cycle in range(step.n_cycles):
            # The cycles before the last are far off, so that they would be noticed.
            values = [step.energy + 9.0 * (step.n_cycles - 1 - cycle)] * 3
            parts.append("  <scstep>\n   <energy>\n" + energy.format(*values) + "   </energy>\n")
            parts.append('   <time name="total"> 1.0 1.0</time>\n  </scstep>\n')
        parts.append(_structure(step.atoms, "", run.selective))
        parts.append(f'  <varray name="forces" >\n{_rows(step.forces)}  </varray>\n')
        parts.append(f'  <varray name="stress" >\n{_rows(step.stress)}  </varray>\n')
        # VASP 5 exchanges the other two.
        values = [step.energy, step.energy + 1.0, step.energy + 2.0]
        parts.append("  <energy>\n" + energy.format(*values) + "  </energy>\n")
        if number == len(run.steps) - 1:
            parts.append(
                '  <eigenvalues>\n   <array>\n    <set comment="spin 1">\n'
                + "     <r> -1.0 1.0 </r>\n" * 50
                + "    </set>\n   </array>\n  </eigenvalues>\n"
            )
        parts.append(' <time name="totalsc"> 1.0 1.0</time>\n </calculation>\n')
    parts.append(_structure(run.steps[-1].atoms, "finalpos", run.selective) + "</modeling>\n")
    return "".join(parts)


def outcar_text(run: Run) -> str:
    """Return as much of an OUTCAR as decides anything."""
    text = f" vasp.6.4.2 {run.subversion}\n" + run.said
    if run.moments is not None:
        rows = "".join(
            f"{i + 1:5d}{0:12.3f}{0:8.3f}{m:8.3f}{m:8.3f}\n" for i, m in enumerate(run.moments)
        )
        rule = "-" * 42 + "\n"
        text += f"\n magnetization (x)\n\n# of ion       s       p       d       tot\n{rule}"
        text += f"{rows}{rule}tot {sum(run.moments):10.3f}\n\n"
    if run.finished:
        text += "\n General timing and accounting informations for this job:\n"
    return text


def run_files(run: Run) -> dict[str, bytes]:
    """Return the contents of vasprun.xml and OUTCAR."""
    xml = vasprun_text(run).encode()
    return {"vasprun.xml": xml[: run.cut], "OUTCAR": outcar_text(run).encode()}


def write_run(folder: Path, *runs: Run, zipped: bool = False) -> Path:
    """Write attempts as custodian leaves them: all but the last packed."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, run in enumerate(runs[:-1], start=1):
        with tarfile.open(folder / f"error.{number}.tar.gz", "w:gz") as archive:
            for name, data in run_files(run).items():
                info = tarfile.TarInfo(f"error.{number}/{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    for name, data in run_files(runs[-1]).items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    corrections = [{"errors": ["zbrent"], "handler": {"@class": "VaspErrorHandler"}}]
    log = [{"job": {}, "corrections": corrections * (len(runs) - 1)}]
    (folder / "custodian.json").write_text(json.dumps(log))
    return folder
