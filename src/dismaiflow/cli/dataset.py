"""``dismai dataset``: make datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli import dataset_options as options
from dismaiflow.cli.console import MAX_SEED, err, out, print_json
from dismaiflow.cli.inputs import find_system, read_parents
from dismaiflow.cli.potentials import open_potentials, put_potentials
from dismaiflow.cli.run import run_flow
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import Flow, JobStore

    from dismaiflow.structures.dataset import Dataset
    from dismaiflow.systems import SystemSpec


def dataset(
    context: typer.Context,
    systems: Annotated[
        list[str], typer.Argument(metavar="SYSTEM", help="Names or YAML files of systems.")
    ],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Each dataset becomes a folder in it.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=2, help="Structures, training and validation together."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all randomness.")] = 0,
    protocol: Annotated[
        str,
        typer.Option(help="corrected; or published: the paper's procedure to the letter."),
    ] = "corrected",
    n_runs: options.NRuns = None,
    n_passes: options.NPasses = None,
    interval: options.Interval = None,
    anneal_from: options.AnnealFrom = 1500.0,
    anneal_passes: options.AnnealPasses = 1000,
    sampler: options.Sampler = "independent",
    thinning: options.Thinning = "none",
    controls: options.Controls = True,
    n_control: options.NControl = None,
    placement: options.Placement = "random",
    exchanges: options.Exchanges = None,
    parent: options.ParentFile = None,
    quench_atoms: options.QuenchAtoms = None,
    quench_rate: options.QuenchRate = None,
    quench_potential: options.QuenchPotential = None,
    split: options.Split = None,
    potential: options.PotentialName = None,
    device: options.Device = "cpu",
    per_job: options.PerJob = 50,
    pilot: options.Pilot = None,
    max_structures: options.MaxStructures = None,
    max_force_calls: options.MaxForceCalls = None,
    search: options.Search = "random",
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make datasets. Alloys of one temperature share their Monte Carlo runs.

    Interfaces and amorphous structures are made as they are before any relaxation, or relaxed with
    --potential: interfaces until --n of them have low energy, the others in high.extxyz.
    """
    check_place(out_dir, submit)
    from dismaiflow.campaigns.datasets import DatasetsMaker
    from dismaiflow.report.tables import dataset_table
    from dismaiflow.settings import load_settings

    specs = [find_system(name) for name in systems]
    options.check_kinds(context, specs)
    options.check_parent(context, specs)
    alloys = options.alloy_maker(
        protocol, thinning, n_control or load_settings().N_CONTROL, n_runs, n_passes, interval
    )
    alloys.dataset_maker.anneal_from = anneal_from
    alloys.dataset_maker.anneal_passes = anneal_passes
    if not controls:
        alloys.protocols = ()
    options.sample_by(alloys, sampler, protocol)
    maker = DatasetsMaker(
        alloy_maker=alloys,
        interface_maker=options.interface_maker(protocol, placement, exchanges),
        amorphous_maker=options.amorphous_maker(
            protocol, split, quench_atoms, quench_rate, quench_potential
        ),
    )
    opened = {}
    if potential is not None:
        budget = options.Budget(pilot, max_structures, max_force_calls)
        maker.relaxed_maker = options.relaxed_maker(
            maker.interface_maker, maker.amorphous_maker, budget, search, device, per_job, controls
        )
        opened = open_potentials(specs, potential, device, here=not submit)
    if out_dir is not None:
        check_targets(out_dir, specs)
    with open_place(submit) as place:
        parents = read_parents(specs, parent, place.store)
        stored = put_potentials(place.store, potential, opened)
        flow = maker.make(specs, seed, n, parents, stored)
        if submit:
            submit_flow(flow, place, tags or (), json)
            return
        assert out_dir is not None
        made = make_datasets(flow, specs, out_dir, place.store, json, tags or ())
    if json:
        print_json({name: str(one.folder) for name, one in made.items()})
        return
    out.print(dataset_table([one.card for one in made.values()]))
    for one in made.values():
        out.print(f"wrote {one.folder}", soft_wrap=True)


def check_targets(folder: Path, specs: Sequence[SystemSpec]) -> None:
    """Refuse targets that cannot be written before minutes are spent on them."""
    from dismaiflow.structures.files import check_out_folder

    for spec in specs:
        check_out_folder(folder / spec.name)


def make_datasets(
    flow: Flow,
    specs: Sequence[SystemSpec],
    folder: Path,
    store: JobStore,
    quiet: bool,
    tags: Sequence[str] = (),
) -> dict[str, Dataset]:
    """Run a flow of `DatasetsMaker` and write one folder per system.

    Raises
    ------
    DismaiError
        If a dataset could not be made; the others are written before.
    """
    from dismaiflow.store.datasets import DatasetDoc, export_dataset

    done = run_flow(flow, store, quiet, tags)
    made: dict[str, Dataset] = {}
    lost: DismaiError | None = None
    for spec in specs:
        try:
            document = DatasetDoc.model_validate(done.result(flow.output["datasets"][spec.name]))
        except DismaiError as error:
            lost = lost or error
            continue
        try:
            found = done.result(flow.output["controls"].get(spec.name, {}))
            document.card.controls = _plain_controls(found)
        except DismaiError as error:
            message = f"the controls could not be scored: {error}"
            document.card.warnings.append(message)
            lost = lost or DismaiError(f"{spec.name}: {message}")
        made[spec.name] = export_dataset(store, document, folder / spec.name)
    if lost is not None:
        rest = f" (written: {', '.join(made)})" if made else ""
        raise DismaiError(f"{lost}{rest}")
    done.tell_failures()
    for name, one in made.items() if quiet else ():  # the table says them too
        for warning in one.card.warnings:
            err.print(f"{name}: {warning}", style="yellow", markup=False, soft_wrap=True)
    return made


def _plain_controls(documents: dict[str, Any]) -> dict[str, Any]:
    """Return the complete control scores by protocol key as plain data."""
    from dismaiflow.benchmark.schemas import ControlsDoc

    found = {key: ControlsDoc.model_validate(document) for key, document in documents.items()}
    return {key: one.model_dump(mode="json") for key, one in found.items() if one.complete}
