"""The command that stands in for VASP."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.dft.rehearsal.mark import NOT_DFT
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.dft.rehearsal.mark import Mark

#: Characters at the beginning of an OUTCAR, which holds the mark in its first line.
_HEAD = 2000

#: Exit status where the inputs or the options are wrong.
WRONG = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run in the current folder as VASP would, and return the exit status."""
    chosen = _parser().parse_args(arguments)
    folder = Path.cwd()
    # Several runs may share a node, and the last bits of sums depend on the number of threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        _forget(folder)  # before the imports, which take a second
    except DismaiError as error:
        return _refused(error)
    from dismaiflow.dft.rehearsal.failures import Failure
    from dismaiflow.dft.rehearsal.inputs import read_inputs
    from dismaiflow.dft.rehearsal.run import Options, rehearse

    try:
        inputs = read_inputs(folder)
        options = Options(
            failures=[Failure.parse(text) for text in chosen.fail],
            scf_steps=max(1, chosen.scf_steps),
            seconds_per_step=max(0.0, chosen.seconds_per_step),
            memoryless=chosen.memoryless,
            contcar=chosen.contcar,
        )
        mark, calculator = open_calculator(chosen.potential, sorted(set(inputs.geometry.symbols)))
        try:
            return rehearse(folder, mark, calculator, options, inputs=inputs)
        finally:
            if close := getattr(calculator, "close", None):
                close()
    except DismaiError as error:
        return _refused(error)


def _refused(error: DismaiError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return WRONG


def open_calculator(name: str, elements: Sequence[str]) -> tuple[Mark, Any]:
    """Return what names a potential in the outputs, and its ASE calculator.

    Parameters
    ----------
    name : str
        ``toy``, or a name of `dismaiflow.potentials.names.open_potential`.
    elements : sequence of str
        Elements that it must know.

    Raises
    ------
    DismaiError
        If it cannot be opened.
    """
    from dismaiflow.dft.rehearsal.mark import Mark

    if name == "toy":
        import hashlib

        from dismaiflow.dft.rehearsal import toy

        # What decides its numbers is its source.
        digest = hashlib.sha256(Path(toy.__file__).read_bytes()).hexdigest()
        return Mark(name, digest), toy.ToyCalculator()
    from dismaiflow.potentials.names import open_potential

    try:
        potential = open_potential(name, elements)
    except DismaiError as error:
        raise DismaiError(f"{error}; --potential toy needs no package and no file") from error
    return Mark(potential.card.name, potential.card.hash), potential.calculator()


def _forget(folder: Path) -> None:
    """Empty the outputs of an attempt before; raise a DismaiError if they are those of VASP itself.

    VASP does so as it starts. Custodian looks at them meanwhile, and would find the old error
    again while this process still imports what it needs.
    """
    outputs = [folder / name for name in ("OUTCAR", "OSZICAR", "vasprun.xml")]
    old = outputs[0]
    if old.is_file() and old.stat().st_size:
        with old.open(errors="replace") as file:
            if NOT_DFT not in file.read(_HEAD):
                raise DismaiError(
                    f"{old}: is not of a rehearsal: take another folder, or move it away"
                )
    for path in outputs:
        if path.is_file():
            path.write_bytes(b"")


def _parser() -> argparse.ArgumentParser:
    from dismaiflow.dft.rehearsal.failures import CASES

    parser = argparse.ArgumentParser(
        prog="dismai-rehearsal-vasp",
        description="Stands in for VASP in a rehearsal: reads INCAR, POSCAR, KPOINTS and POTCAR or "
        "POTCAR.spec here and writes VASP's outputs with an interatomic potential. Not DFT.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="failures:\n" + "\n".join(f"  {case:<12} {text}" for case, text in CASES.items()),
    )
    parser.add_argument(
        "--potential", default="toy", help="toy, chgnet, matgl:DIR, module:callable ... [toy]"
    )
    parser.add_argument(
        "--fail",
        action="append",
        default=[],
        metavar="CASE[@STEP][!]",
        help="fail once in this folder, in ionic step STEP [2], or in every attempt with '!'",
    )
    parser.add_argument(
        "--scf-steps", type=int, default=6, metavar="N", help="electronic steps of a step [6]"
    )
    parser.add_argument(
        "--seconds-per-step", type=float, default=0.0, metavar="S", help="at least [0]"
    )
    parser.add_argument(
        "--memoryless",
        action="store_true",
        help="follow the forces alone, so that a restart takes the same way",
    )
    parser.add_argument(
        "--contcar",
        choices=("last", "next"),
        default="last",
        help="whether CONTCAR has the last geometry computed or the next one [last]",
    )
    return parser
