"""``dismai systems``: list, show, new, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dismaiflow.cli.console import err, out, print_json
from dismaiflow.cli.inputs import find_system, system_dirs
from dismaiflow.errors import DismaiError

app = typer.Typer(help="The systems that can be made and scored.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name or YAML file of a system.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the registered systems."""
    from rich.table import Table

    from dismaiflow.systems import load_catalogue

    catalogue = load_catalogue(system_dirs())
    for reason in catalogue.broken.values():
        err.print(f"left out: {reason}", style="yellow", markup=False, soft_wrap=True)
    specs = [catalogue.specs[name] for name in sorted(catalogue.specs)]
    if json:
        print_json(
            [
                {"name": s.name, "kind": s.kind, "formula": s.formula, "n_atoms": s.n_atoms}
                for s in specs
            ]
        )
        return
    table = Table(box=None, header_style="bold")
    for column in ("name", "kind", "formula", "description"):
        table.add_column(column)
    for spec in specs:
        table.add_row(spec.name, spec.kind, spec.formula, spec.description)
    out.print(table)


@app.command()
def show(name: NameArgument, json: JsonOption = False) -> None:
    """Show the spec of a system, with the source of every value."""
    spec = find_system(name)
    if json:
        print_json(spec.model_dump(mode="json", exclude_none=True))
    else:
        typer.echo(spec.to_yaml(), nl=False)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new system.")],
    kind: Annotated[str, typer.Option(help="alloy, amorphous or interface.")] = "alloy",
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The file to write; NAME.yaml by default.")
    ] = None,
) -> None:
    """Write a commented spec to start from; it works as it is."""
    from dismaiflow.structures.files import write_text
    from dismaiflow.systems import new_system_yaml

    path = out_file or Path(f"{name}.yaml")
    if path.exists():
        raise DismaiError(f"{path}: already exists; choose another --out")
    write_text(path, new_system_yaml(kind, name))
    out.print(f"wrote {path}; edit it, then run `dismai systems check {path}`")


@app.command()
def check(name: NameArgument) -> None:
    """Check a spec, its cluster expansion included."""
    spec = find_system(name)
    if spec.kind == "alloy":
        from dismaiflow.alloy.system import AlloySystem

        AlloySystem.from_spec(spec)
    out.print(f"{spec.name}: {spec.kind}, {spec.formula}, {spec.n_atoms} atoms: in order")
