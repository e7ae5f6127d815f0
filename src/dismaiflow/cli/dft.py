"""``dismai dft``: inputs, check."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import MAX_SEED, err, out
from dismaiflow.cli.inputs import find_system
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dismaiflow.cli.dft_structures import Prepared
    from dismaiflow.dft.settings_table import Stage
    from dismaiflow.systems import SystemSpec

app = typer.Typer(help="Calculations with VASP: their inputs and their workers.")

#: Marks of findings.
_MARKS = {"ok": "ok", "warning": "warning", "fault": "FAULT"}


@app.callback()
def _together() -> None:
    """Keep the commands below their common name."""


@app.command()
def inputs(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="Name or YAML file of a system.")],
    out_folder: Annotated[Path, typer.Option("--out", help="New folder for the inputs.")],
    stage: Annotated[
        str,
        typer.Option(
            help="bulk, region, all, full-cell, alloy-cell, static, or every one of the system."
        ),
    ] = "every",
    structures: Annotated[
        Path | None,
        typer.Option(help="Structures to use; random ones of the system by default."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n", min=1, help="Structures of each calculation: all of --structures, or one."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of random structures.")] = 0,
    fixed_c: Annotated[
        bool, typer.Option("--fixed-c", help="Let full-cell keep the vector across the interface.")
    ] = False,
) -> None:
    """Write the inputs of VASP for a system, check them, and show every setting with its source.

    Where the licensed potentials are (PMG_VASP_PSP_DIR), POTCAR files are written too; else
    POTCAR.spec, which names them.
    """
    from dismaiflow.cli.dft_structures import prepare
    from dismaiflow.dft.check import need_dft, valence_fault
    from dismaiflow.dft.commands import potcar_fault
    from dismaiflow.dft.defaults import dft_block
    from dismaiflow.dft.settings_table import free_cell_warning, setting_groups
    from dismaiflow.structures.files import check_out_folder, new_folder

    need_dft()
    spec = find_system(system)
    chosen = _stages(spec, stage)
    _check_words(chosen, structures, fixed_c)
    check_out_folder(out_folder)
    block = dft_block(spec)
    holds_c = True if fixed_c else None
    prepared = [(one, item) for one in chosen for item in prepare(spec, one, structures, n, seed)]
    lines = [free_cell_warning(spec, one, holds_c) for one in chosen]
    lines += [line for _, item in prepared for line in item.warnings]
    with _pymatgen_says_once():
        fault = potcar_fault(list(block.potentials.values()), block.dft.potential_family)
        lines.append(valence_fault(block) if fault is None else None)
        with new_folder(out_folder) as partial:
            rows = [
                _write(spec, one, item, holds_c, partial, spec_only=fault is not None)
                for one, item in prepared
            ]
    for line in dict.fromkeys(lines):
        if line:
            _warn(line)
    _print_rows(("folder", "atoms", "free", "k-points", "potentials"), rows)
    if fault:
        _warn(f"POTCAR.spec written in the place of POTCAR: {fault}")
    out.print(f"wrote {out_folder}", soft_wrap=True, markup=False)
    for title, group in setting_groups(spec, chosen, holds_c):
        out.print(f"\n[bold]{title}[/bold]")
        _print_rows(
            ("file", "key", "value", "source"), [(s.file, s.key, s.text, s.source) for s in group]
        )


@app.command()
def check(
    system: Annotated[
        str | None,
        typer.Argument(metavar="SYSTEM", help="A system whose potentials must be there."),
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="A command that runs VASP, in the place of the one set.")
    ] = None,
) -> None:
    """Check this machine as a worker: VASP, its potentials, versions, scratch space."""
    from dismaiflow.dft.check import check_worker

    findings = check_worker(find_system(system) if system else None, command)
    for finding in findings:
        console = out if finding.state == "ok" else err
        line = f"{_MARKS[finding.state]:8}{finding.name}: {finding.line}"
        console.print(line, markup=False, soft_wrap=True)
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(2)


def _stages(spec: SystemSpec, word: str) -> tuple[Stage, ...]:
    from dismaiflow.dft.settings_table import STAGES, stages_of

    if word == "every":
        return stages_of(spec)
    if word not in STAGES:
        raise DismaiError(f"--stage {word}: choose {', '.join(STAGES)} or every")
    return (word,)


def _check_words(chosen: Sequence[Stage], structures: Path | None, fixed_c: bool) -> None:
    """Refuse options that would do nothing."""
    if fixed_c and "full-cell" not in chosen:
        raise DismaiError(
            f"--fixed-c: holds a vector of full-cell, which is not among {', '.join(chosen)}: "
            "leave it out, or choose --stage full-cell"
        )
    if structures is not None and set(chosen) == {"bulk"}:
        raise DismaiError(
            f"--structures {structures}: bulk takes the crystals of the system: leave it out, or "
            "choose another --stage"
        )


def _write(
    spec: SystemSpec,
    stage: Stage,
    item: Prepared,
    fixed_c: bool | None,
    folder: Path,
    spec_only: bool,
) -> tuple[str, ...]:
    """Write and check the four files of a calculation, and return its row of the table."""
    from dismaiflow.dft.check import check_inputs
    from dismaiflow.dft.input_sets import generator_for
    from dismaiflow.dft.settings_table import settings_of

    settings = settings_of(spec, stage, item.phase, fixed_c)
    name = f"{stage}/{item.name}"
    folder = folder / name
    generator = generator_for(spec, stage, item.phase, fixed_c)
    generator.get_input_set(item.structure, potcar_spec=spec_only).write_input(folder)
    found = check_inputs(folder, settings, item.free if stage == "region" else None)
    mesh = " x ".join(map(str, found.kpoints[1]))
    row = (name, found.n_atoms, found.n_free, f"{found.kpoints[0]} {mesh}")
    return (*map(str, row), " ".join(found.potentials))


@contextlib.contextmanager
def _pymatgen_says_once() -> Iterator[None]:
    """Show a warning of pymatgen once, in one line, not for every folder."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        yield
    texts = (str(one.message) for one in said if issubclass(one.category, UserWarning))
    for line in dict.fromkeys(" ".join(text.split()) for text in texts):
        _warn(line)


def _warn(line: str) -> None:
    err.print(f"warning: {line}", style="yellow", markup=False, soft_wrap=True)


def _print_rows(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in head:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)
