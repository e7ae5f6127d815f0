"""``dismai region``: the regions of interfaces beside those of the training structures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import out, print_json
from dismaiflow.cli.inputs import find_system, read_generated, read_reference, reference_name
from dismaiflow.cli.potentials import check_device
from dismaiflow.cli.run import run_flow
from dismaiflow.cli.scoring import try_potential
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from jobflow import JobStore

    from dismaiflow.benchmark.region_jobs import RegionEvaluationMaker
    from dismaiflow.benchmark.region_schemas import RegionEvaluationDoc, SetQuestion
    from dismaiflow.store.structures import StructuresRef


def region(
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="Name or YAML file of the interface.")
    ],
    training: Annotated[
        str, typer.Option(help="Training structures: a dataset folder, a file, or store:HASH.")
    ],
    low: Annotated[
        Path,
        typer.Option(help="Generated, relaxed structures; those of low energy are looked at."),
    ],
    high: Annotated[
        Path | None,
        typer.Option(help="Random, relaxed structures; those of high energy are looked at."),
    ] = None,
    potential: Annotated[
        str | None,
        typer.Option(metavar="P", help="Compute all energies with it, where the atoms lie."),
    ] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Look at all structures, whatever their energy.")
    ] = False,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for region.json and report.html.")
    ] = None,
    device: Annotated[str, typer.Option(help="On which the potential computes.")] = "cpu",
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="Print region.json.")] = False,
) -> None:
    """Compare the regions of relaxed interfaces with those of the training structures."""
    from dismaiflow.benchmark.region_analysis import RegionPlan
    from dismaiflow.potentials.names import open_potential
    from dismaiflow.potentials.store import put_potential
    from dismaiflow.structures.files import check_out_folder

    check_place(out_dir, submit)
    if potential is not None and as_is:
        raise DismaiError("--as-is needs no energies: leave out --potential, or --as-is")
    spec = find_system(system)
    RegionPlan.from_spec(spec)
    opened = open_potential(potential, spec.species) if potential is not None else None
    if not submit:
        check_device(device)
    if out_dir is not None:
        check_out_folder(out_dir)
    with open_place(submit) as place:
        known, _ = read_reference(training, place.store, spec)
        sets, asked = _read_sets({"low": low, "high": high}, place.store, as_is)
        asked["training"] = _question(reference_name(training))
        stored = None
        if opened is not None:
            assert potential is not None
            stored = put_potential(place.store, potential, opened)
            if not submit:
                try_potential(opened, place.store, known)
        flow = _maker(device).make(spec, known, sets, asked, stored)
        if submit:
            submit_flow(flow, place, tags or (), json)
            return
        done = run_flow(flow, place.store, json, tags or ())
        from dismaiflow.benchmark.region_schemas import RegionEvaluationDoc

        document = RegionEvaluationDoc.model_validate(done.result(flow.output))
        done.tell_failures()
    assert out_dir is not None
    _write(document, out_dir, json)


def _read_sets(
    paths: dict[str, Path | None], store: JobStore, as_is: bool
) -> tuple[dict[str, StructuresRef], dict[str, SetQuestion]]:
    """Read the sets that were given, and say what is asked of each."""
    from dismaiflow.settings import load_settings
    from dismaiflow.store.generated import unreadable

    given = {name: path for name, path in paths.items() if path is not None}
    read = read_generated(list(given.values()), store, load_settings().CHUNK_SIZE)
    sets, asked = {}, {}
    for name, one in zip(given, read, strict=True):
        bad = Counter(frame.reason for frame in unreadable(store, one))
        sets[name] = one.structures
        asked[name] = _question(one.name, "all" if as_is else name, bad)
    return sets, asked


def _question(name: str, choice: Any = "all", unreadable: dict[str, int] | None = None) -> Any:
    from dismaiflow.benchmark.region_schemas import SetQuestion

    return SetQuestion(name=name, choice=choice, unreadable=dict(unreadable or {}))


def _maker(device: str) -> RegionEvaluationMaker:
    from dismaiflow.benchmark.region_jobs import RegionEvaluationMaker
    from dismaiflow.potentials.jobs import RelaxPartMaker, RelaxSetMaker

    return RegionEvaluationMaker(
        energy_maker=RelaxSetMaker(part_maker=RelaxPartMaker(device=device))
    )


def _write(document: RegionEvaluationDoc, folder: Path, json: bool) -> None:
    """Write the folder and print the table."""
    from dismaiflow.report.html import write_report
    from dismaiflow.report.region_section import region_table
    from dismaiflow.structures.files import new_folder

    low = document.sets["low"].name
    with new_folder(folder) as partial:
        text = document.model_dump_json(indent=1)
        (partial / "region.json").write_text(text, encoding="utf-8")
        write_report(partial / "report.html", regions=[document], title=f"Interface regions, {low}")
    if json:
        print_json(document.model_dump(mode="json"))
        return
    out.print(region_table(document))
    out.print(f"wrote {folder / 'region.json'} and {folder / 'report.html'}", soft_wrap=True)
