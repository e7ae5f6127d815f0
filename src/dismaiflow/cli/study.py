"""``dismai study``: train, sample and score models, a row of the paper's tables for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli import model_options as options
from dismaiflow.cli.console import MAX_SEED, out, print_json
from dismaiflow.cli.inputs import find_system, read_parents
from dismaiflow.cli.interrupted import kept_trainings
from dismaiflow.cli.potentials import check_device, check_scratch
from dismaiflow.cli.run import run_flow
from dismaiflow.cli.scoring import (
    Moving,
    control_sizes,
    open_for,
    scoring_protocol,
    try_potential,
)
from dismaiflow.cli.study_variants import Compared, check_models_here
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobflow import Flow, JobStore

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.schemas import ScoreDoc
    from dismaiflow.campaigns.datasets import DatasetsMaker
    from dismaiflow.campaigns.study import StudyMaker
    from dismaiflow.campaigns.study_schemas import StudyDoc
    from dismaiflow.cli.run import FinishedRun
    from dismaiflow.models.schemas import TrainedModelDoc
    from dismaiflow.store.datasets import DatasetDoc
    from dismaiflow.structures.dataset import Dataset
    from dismaiflow.systems import SystemSpec


def study(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model as for `train`; several with commas between; or all, for those of the "
            "paper.",
        ),
    ],
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="Name or YAML file of the system.")
    ],
    out_dir: Annotated[Path | None, typer.Option("--out", help="The folder to make.")] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="A dataset folder; without one the dataset is made.")
    ] = None,
    n_seeds: Annotated[int, typer.Option("--seeds", min=1, help="Instances to train.")] = 3,
    n: Annotated[int, typer.Option("--n", min=1, help="Structures of each instance.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all randomness.")] = 0,
    size: options.Size = "paper",
    settings: options.Settings = None,
    scan: Annotated[
        str | None,
        typer.Option(metavar="KEY=V1,V2", help="Compare values of a setting (Figs. 7, S15, S25)."),
    ] = None,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="LABEL:KEY=VALUE,...",
            help="Compare changed models (Figs. S30, S32); several times.",
        ),
    ] = None,
    progress: Annotated[
        str | None,
        typer.Option(metavar="E1,E2", help="Score weights of these epochs (Fig. S26)."),
    ] = None,
    equal_time: Annotated[
        float | None,
        typer.Option(
            "--equal-time",
            min=1,
            help="Train each instance for so many seconds, whatever its steps (Fig. S16).",
        ),
    ] = None,
    protocol: Annotated[str, typer.Option(help="published, or corrected.")] = "published",
    alignment: Annotated[
        str | None,
        typer.Option(
            help="Alloys, published only: fixed, translated or rotated; by default that of the "
            "model's published script, or fixed."
        ),
    ] = None,
    potential: Annotated[
        str | None,
        typer.Option(metavar="P", help="What relaxes interfaces and amorphous structures."),
    ] = None,
    relaxed: Annotated[
        bool, typer.Option("--relaxed", help="Take all structures as relaxed.")
    ] = False,
    generated_lattice: Annotated[
        bool,
        typer.Option("--generated-lattice", help="Let each generated structure keep its own cell."),
    ] = False,
    n_data: Annotated[
        int | None,
        typer.Option("--n-data", min=2, help="Structures of the dataset, if it is made."),
    ] = None,
    max_seconds: options.MaxSeconds = None,
    device: Annotated[str, typer.Option(help="On which the potential computes.")] = "cpu",
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="Print study.json.")] = False,
) -> None:
    """Train, sample and score models: their rows beside the published ones and the controls.

    A study that was interrupted goes on when the same command is given again: finished trainings
    are not repeated.
    """
    check_place(out_dir, submit)
    spec = find_system(system)  # before imports that take seconds
    from dismaiflow.benchmark.question import card_controls
    from dismaiflow.campaigns.study import DatasetStudyMaker, variant_protocols
    from dismaiflow.potentials.store import put_potential
    from dismaiflow.report.study_tables import study_table
    from dismaiflow.store.datasets import store_dataset
    from dismaiflow.structures.dataset import open_dataset
    from dismaiflow.structures.files import check_out_folder

    chosen = scoring_protocol(spec.kind, protocol, alignment)
    moving = Moving(potential, relaxed, device)
    opened = open_for(spec, moving)
    own_alignments = alignment is None and spec.kind == "alloy" and protocol == "published"
    asked_for = Compared(size, settings or (), scan, variants or (), progress, equal_time)
    compared = asked_for.variants(model, spec, own_alignments)
    if not submit:
        check_models_here(compared)
    folder = open_dataset(dataset) if dataset is not None else None
    if folder is not None:
        _check_dataset(folder, spec, n_data)
    if out_dir is not None:
        check_out_folder(out_dir)
        check_scratch()
        check_device(device)
    maker = _maker(n, n_seeds, max_seconds, device, stops_here=not submit)
    asked: dict[str, Any] = {
        "protocol": chosen,
        "seed": seed,
        "relaxed": relaxed,
        "own_cells": generated_lattice,
    }
    trainings = maker.train_maker
    with kept_trainings("study", out_dir) as trainings.folder_key, open_place(submit) as place:
        if opened is not None:
            assert potential is not None
            asked["potential"] = put_potential(place.store, potential, opened)
        if folder is not None:
            stored = store_dataset(place.store, folder)
            if not submit:
                try_potential(opened, place.store, stored.sets["train"])
            flow = maker.make(spec, stored, compared, controls=card_controls(folder.card), **asked)
        else:
            protocols = variant_protocols(chosen, compared)
            whole = DatasetStudyMaker(datasets_maker=_datasets(protocols), study_maker=maker)
            parent = read_parents([spec], None, place.store).get(spec.name)
            flow = whole.make(spec, compared, n_structures=n_data, parent=parent, **asked)
        if submit:
            submit_flow(flow, place, tags or (), json)
            return
        done = run_flow(flow, place.store, json, tags or ())
        assert out_dir is not None
        found = _results(done, flow)
        _write(found, place.store, out_dir, folder)
    done.tell_failures()
    if json:
        print_json(found.study.model_dump(mode="json"))
        return
    out.print(study_table(found.study, found.scores))
    out.print(f"wrote {out_dir}; look at {out_dir / 'report.html'}", soft_wrap=True)


@dataclass(frozen=True)
class _Results:
    """What a finished study has left; parts that failed are missing."""

    study: StudyDoc
    scores: dict[str, ScoreDoc]
    trained: list[TrainedModelDoc]
    dataset: DatasetDoc | None


def _results(done: FinishedRun, flow: Flow) -> _Results:
    """Fetch what a study has left.

    Raises
    ------
    DismaiError
        If nothing could be scored.
    """
    from dismaiflow.benchmark.schemas import ScoreDoc
    from dismaiflow.campaigns.study_schemas import StudyDoc
    from dismaiflow.models.schemas import TrainedModelDoc
    from dismaiflow.store.datasets import DatasetDoc

    output: Any = flow.output
    document = StudyDoc.model_validate(done.result(output["study"]))
    scores = {k: _part(done, one) for k, one in output["scores"].items()}
    if not any(one is not None for one in scores.values()):
        raise DismaiError(done.errors[0] if done.errors else "nothing could be scored")
    trained = [_part(done, one) for refs in output["trained"].values() for one in refs]
    dataset = _part(done, output["dataset"]) if "dataset" in output else None
    return _Results(
        document,
        {k: ScoreDoc.model_validate(one) for k, one in scores.items() if one is not None},
        _kept(TrainedModelDoc.model_validate(one) for one in trained if one is not None),
        None if dataset is None else DatasetDoc.model_validate(dataset),
    )


def _part(done: FinishedRun, output: Any) -> Any:
    """Fetch one output, None where its job failed."""
    try:
        return done.result(output)
    except DismaiError:
        return None


def _kept(trained: Iterable[TrainedModelDoc]) -> list[TrainedModelDoc]:
    """Return the instances that have learned something, each once."""
    found = {one.model_dump_json(): one for one in trained if not one.card.get("is_control")}
    return list(found.values())


def _write(found: _Results, store: JobStore, folder: Path, given: Dataset | None) -> None:
    """Write the folder, and the dataset into it if it was made."""
    from dismaiflow.report.study_folder import export_study

    card = given.card if given is not None else None
    if card is None and found.dataset is not None:
        card = found.dataset.card
    export_study(
        store,
        found.study,
        found.scores,
        folder,
        found.trained,
        [card] if card is not None else [],
        found.dataset if given is None else None,
    )


def _maker(
    n: int, n_seeds: int, max_seconds: float | None, device: str, stops_here: bool
) -> StudyMaker:
    from dismaiflow.campaigns.study import StudyMaker
    from dismaiflow.campaigns.study_jobs import ScoreStudyMaker
    from dismaiflow.models.jobs import TrainModelMaker

    sizes = control_sizes()
    return StudyMaker(
        n=n,
        n_seeds=n_seeds,
        train_maker=TrainModelMaker(max_seconds=max_seconds, stops_here=stops_here),
        score_maker=ScoreStudyMaker(
            n_control=sizes.n, n_control_relaxed=sizes.n_relaxed, device=device
        ),
    )


def _datasets(protocols: Sequence[ScoringProtocol]) -> DatasetsMaker:
    """Return what makes the dataset, with controls by the protocols of the study alone."""
    from dismaiflow.campaigns.datasets import DatasetsMaker
    from dismaiflow.cli.dataset_options import alloy_maker

    alloys = alloy_maker("corrected", "none", control_sizes().n)
    alloys.protocols = tuple(dict.fromkeys(protocols))
    return DatasetsMaker(alloy_maker=alloys)


def _check_dataset(folder: Dataset, spec: SystemSpec, n_data: int | None) -> None:
    """Refuse a dataset of another system, or options that do not go with one that is there."""
    if folder.card.system != spec.name:
        raise DismaiError(
            f"{folder.folder}: is a dataset of {folder.card.system}, not of {spec.name}"
        )
    if n_data is not None:
        raise DismaiError("--n-data is for a dataset that is made; leave it out with --dataset")
