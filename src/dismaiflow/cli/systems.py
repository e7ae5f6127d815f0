"""``dismai systems``: list, show, new, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import MAX_SEED, err, out, print_json
from dismaiflow.cli.inputs import find_system, system_dirs
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from dismaiflow.systems import SystemSpec

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
    kind: Annotated[
        str | None, typer.Option(help="alloy (the default), amorphous or interface.")
    ] = None,
    cifs: Annotated[
        list[Path] | None,
        typer.Option("--cif", help="A crystal of an interface; give the substrate, then the film."),
    ] = None,
    miller: Annotated[
        list[str] | None,
        typer.Option(help="Its surface, as 1,1,0; in the order of the crystals."),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The file to write; NAME.yaml by default.")
    ] = None,
) -> None:
    """Write a commented spec to start from; it works as it is.

    With two --cif it is filled in from these crystals.
    """
    from dismaiflow.structures.files import write_text
    from dismaiflow.systems import new_system_yaml

    path = out_file or Path(f"{name}.yaml")
    if path.exists():
        raise DismaiError(f"{path}: already exists; choose another --out")
    if cifs or miller:
        if kind not in (None, "interface"):
            raise DismaiError(f"--cif and --miller are for an interface, not for kind {kind}")
        text = _from_cifs(name, cifs or [], miller or [], path.parent)
    else:
        text = new_system_yaml(kind or "alloy", name)
    write_text(path, text)
    out.print(f"wrote {path}; edit it, then run `dismai systems check {path}`", soft_wrap=True)


def _from_cifs(name: str, cifs: list[Path], miller: list[str], folder: Path) -> str:
    """Return the spec of an interface of two crystals, whose files it names as seen from a folder.

    Raises
    ------
    DismaiError
        If there are not two crystals, or their surfaces are no planes.
    """
    from dismaiflow.interfaces.scaffold import interface_yaml_from_cifs

    if len(cifs) != 2:
        raise DismaiError(
            f"an interface is made of two crystals: give --cif twice, not {len(cifs)}x"
        )
    if len(miller) not in (0, 2):
        raise DismaiError("give --miller for both crystals, or for none")
    planes = [_plane(word) for word in miller] or [(1, 0, 0), (1, 0, 0)]
    return interface_yaml_from_cifs(name, cifs[0], cifs[1], miller=planes, folder=folder)


def _plane(word: str) -> tuple[int, int, int]:
    """Read Miller indices.

    Raises
    ------
    DismaiError
        If these are no three integers.
    """
    try:
        h, k, l = (int(part) for part in word.replace(" ", ",").split(",") if part)  # noqa: E741
    except ValueError:
        raise DismaiError(f"--miller {word}: write three integers with commas, as 1,1,0") from None
    return h, k, l


@app.command()
def check(
    name: NameArgument,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for the pictures of an interface; NAME-check by default."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of the random structure.")] = 0,
    json: JsonOption = False,
) -> None:
    """Check a spec and all that belongs to it; build an interface, and draw it."""
    spec = find_system(name)
    if spec.kind == "interface":
        _check_interface(spec, pictures or Path(f"{spec.name}-check"), seed, json)
        return
    if spec.kind == "alloy":
        from dismaiflow.alloy.system import AlloySystem

        AlloySystem.from_spec(spec)
    if spec.kind == "amorphous":
        _check_amorphous(spec)
    if json:
        print_json({"system": spec.name, "kind": spec.kind, "composition": spec.composition})
        return
    out.print(f"{spec.name}: {spec.kind}, {spec.formula}, {spec.n_atoms} atoms: in order")


def _check_amorphous(spec: SystemSpec) -> None:
    """Read the parent if the spec names one, and warn if it is too small to be divided."""
    from dismaiflow.amorphous.jobs import check_quench, quench_settings
    from dismaiflow.amorphous.parent import parent_path, read_parent
    from dismaiflow.amorphous.slicing import check_size

    path = parent_path(spec)
    if path is not None:
        n_atoms = int(read_parent(path, spec).n_atoms[0])
    else:
        settings = quench_settings(spec)
        check_quench(spec, settings)
        n_atoms = settings.n_atoms
    try:
        check_size(n_atoms, spec.amorphous.block.n_atoms)
    except DismaiError as error:
        err.print(f"warning: {error}", style="yellow", markup=False, soft_wrap=True)


def _check_interface(spec: SystemSpec, folder: Path, seed: int, json: bool) -> None:
    """Build the slabs, say what they are, fill the region, and draw all of it."""
    from rich.table import Table

    from dismaiflow.interfaces.summary import check_interface

    found = check_interface(spec, folder, seed)
    if json:
        print_json(found.as_dict())
        return
    out.print(found.headline)
    table = Table.grid(padding=(0, 2))
    for label, text in found.lines:
        table.add_row(label, text)
    out.print(table)
    for warning in found.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    out.print("pictures: " + ", ".join(map(str, found.pictures)), soft_wrap=True)
