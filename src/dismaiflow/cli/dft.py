"""``dismai dft``: inputs, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import MAX_SEED, err, out
from dismaiflow.cli.inputs import find_system
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

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
    n: Annotated[int, typer.Option("--n", min=1, help="Structures of each calculation.")] = 1,
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
    from dismaiflow.dft.check import check_inputs, need_dft
    from dismaiflow.dft.commands import potcar_fault
    from dismaiflow.dft.defaults import dft_block
    from dismaiflow.dft.settings_table import free_cell_warning, setting_groups, settings_of

    need_dft()
    from dismaiflow.dft.input_sets import generator_for

    spec = find_system(system)
    chosen = _stages(spec, stage)
    if out_folder.exists() and any(out_folder.iterdir()):
        raise DismaiError(f"{out_folder}: is not empty; choose another --out")
    block = dft_block(spec)
    fault = potcar_fault(list(block.potentials.values()), block.dft.potential_family)
    holds_c = True if fixed_c else None
    rows = []
    for one in chosen:
        warning = free_cell_warning(spec, one, holds_c)
        if warning:
            _warn(warning)
        for item in prepare(spec, one, structures, n, seed):
            settings = settings_of(spec, one, item.phase, holds_c)
            folder = out_folder / one / item.name
            generator = generator_for(spec, one, item.phase, holds_c)
            _write(generator, item.structure, folder, spec_only=fault is not None)
            found = check_inputs(folder, settings, item.free if one == "region" else None)
            mesh = " x ".join(map(str, found.kpoints[1]))
            row = (folder, found.n_atoms, found.n_free, f"{found.kpoints[0]} {mesh}")
            rows.append((*map(str, row), " ".join(found.potentials)))
    _print_rows(("folder", "atoms", "free", "k-points", "potentials"), rows)
    if fault:
        _warn(f"POTCAR.spec written in the place of POTCAR: {fault}")
    for title, group in setting_groups(spec, chosen, holds_c):
        out.print(f"\n[bold]{title}[/bold]")
        lines = [(s.file, s.key, s.text, s.source) for s in group]
        _print_rows(("file", "key", "value", "source"), lines)


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


def _write(generator: Any, structure: Structure, folder: Path, spec_only: bool) -> None:
    """Write the four files of a calculation."""
    from dismaiflow.structures.files import explain_os_error

    try:
        made = generator.get_input_set(structure, potcar_spec=spec_only)
        made.write_input(folder)
    except OSError as error:
        raise explain_os_error(error, folder) from None


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
