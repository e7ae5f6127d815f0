"""``dismai dataset``: make datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import MAX_SEED, err, one_of, out, print_json
from dismaiflow.cli.inputs import find_alloy
from dismaiflow.cli.run import run_flow
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import JobStore

    from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
    from dismaiflow.structures.dataset import Dataset
    from dismaiflow.systems import SystemSpec


def dataset(
    systems: Annotated[
        list[str], typer.Argument(metavar="SYSTEM", help="Names or YAML files of alloys.")
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
        typer.Option(help="corrected: equilibrated runs; published: random starts, no burn-in."),
    ] = "corrected",
    n_runs: Annotated[int | None, typer.Option(min=1, help="Independent Monte Carlo runs.")] = None,
    n_passes: Annotated[int | None, typer.Option(min=1, help="Passes of each run.")] = None,
    interval: Annotated[
        int | None, typer.Option(min=1, help="Passes between two snapshots.")
    ] = None,
    anneal_from: Annotated[
        float,
        typer.Option(min=0, help="K; above every ordering transition. corrected only."),
    ] = 1500.0,
    anneal_passes: Annotated[
        int, typer.Option(min=0, help="Passes in which a run is cooled. corrected only.")
    ] = 1000,
    sampler: Annotated[
        str, typer.Option(help="independent runs, or exchange: with replica exchange.")
    ] = "independent",
    thinning: Annotated[
        str, typer.Option(help="none, or independent: snapshots a correlation time apart.")
    ] = "none",
    controls: Annotated[
        bool, typer.Option(help="Score the controls and keep them with the dataset.")
    ] = True,
    n_control: Annotated[
        int | None, typer.Option(min=1, help="Structures drawn of each control.")
    ] = None,
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make datasets; those of one temperature share their Monte Carlo runs."""
    check_place(out_dir, submit)
    from dismaiflow.alloy.jobs import ReplicaExchangeRunMaker
    from dismaiflow.report.tables import dataset_table
    from dismaiflow.settings import load_settings

    specs = [find_alloy(name) for name in systems]
    maker = build_maker(
        protocol, thinning, n_control or load_settings().N_CONTROL, n_runs, n_passes, interval
    )
    maker.dataset_maker.anneal_from = anneal_from
    maker.dataset_maker.anneal_passes = anneal_passes
    if not controls:
        maker.protocols = ()
    if one_of("--sampler", sampler, ("independent", "exchange")) == "exchange":
        if protocol == "published":
            raise DismaiError("--sampler exchange needs --protocol corrected")
        maker.dataset_maker.run_maker = ReplicaExchangeRunMaker()
    if out_dir is not None:
        check_targets(out_dir, specs)
    with open_place(submit) as place:
        if submit:
            submit_flow(maker.make(specs, seed, n), place, tags or (), json)
            return
        assert out_dir is not None
        made = make_datasets(maker, specs, out_dir, place.store, seed, n, json, tags or ())
    if json:
        print_json({name: str(one.folder) for name, one in made.items()})
        return
    out.print(dataset_table([one.card for one in made.values()]))
    for one in made.values():
        out.print(f"wrote {one.folder}", soft_wrap=True)


def build_maker(
    protocol: str,
    thinning: str,
    n_control: int,
    n_runs: int | None = None,
    n_passes: int | None = None,
    interval: int | None = None,
) -> AlloyBenchmarkMaker:
    """Turn options into a Maker.

    Raises
    ------
    DismaiError
        If a word is unknown.
    """
    from dismaiflow.alloy.flows import AlloyDatasetMaker
    from dismaiflow.alloy.jobs import AssembleAlloyMaker
    from dismaiflow.benchmark.flows import AlloyControlsMaker
    from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker

    return AlloyBenchmarkMaker(
        dataset_maker=AlloyDatasetMaker(
            protocol=one_of("--protocol", protocol, ("corrected", "published")),
            n_runs=n_runs,
            n_passes=n_passes,
            snapshot_interval=interval,
            assemble_maker=AssembleAlloyMaker(
                thinning=one_of("--thinning", thinning, ("none", "independent"))
            ),
        ),
        controls_maker=AlloyControlsMaker(n=n_control),
    )


def check_targets(folder: Path, specs: Sequence[SystemSpec]) -> None:
    """Refuse targets that cannot be written before minutes are spent on them."""
    from dismaiflow.structures.files import check_out_folder

    for spec in specs:
        check_out_folder(folder / spec.name)


def make_datasets(
    maker: AlloyBenchmarkMaker,
    specs: Sequence[SystemSpec],
    folder: Path,
    store: JobStore,
    seed: int,
    n: int | None,
    quiet: bool,
    tags: Sequence[str] = (),
) -> dict[str, Dataset]:
    """Run the flow and write one folder per system.

    Raises
    ------
    DismaiError
        If a dataset could not be made; the others are written before.
    """
    from dismaiflow.store.datasets import DatasetDoc, export_dataset

    flow = maker.make(specs, seed, n)
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
            found = done.result(flow.output["controls"][spec.name])
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
