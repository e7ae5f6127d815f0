"""``dismai train`` and ``dismai generate``: one model, without a score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dismaiflow.cli import model_options as options
from dismaiflow.cli.console import MAX_SEED, err, out, print_json
from dismaiflow.cli.inputs import find_system
from dismaiflow.cli.interrupted import kept_trainings
from dismaiflow.cli.potentials import check_scratch
from dismaiflow.cli.run import run_flow
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow
from dismaiflow.errors import DismaiError


def train(
    model: options.ModelArgument,
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    out_dir: Annotated[Path | None, typer.Option("--out", help="The folder to make.")] = None,
    system: Annotated[
        str | None, typer.Option(help="YAML file of the system, if it is not a known name.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all randomness.")] = 0,
    size: options.Size = "paper",
    settings: options.Settings = None,
    max_seconds: options.MaxSeconds = None,
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a model on a dataset.

    A training that was interrupted goes on where it was when the same command is given again.
    """
    check_place(out_dir, submit)
    from jobflow import Flow

    from dismaiflow.models.choosing import choose_model
    from dismaiflow.models.folder import export_model
    from dismaiflow.models.jobs import TrainModelMaker, fit_category
    from dismaiflow.models.registry import open_model
    from dismaiflow.models.schemas import TrainedModelDoc
    from dismaiflow.store.datasets import store_dataset
    from dismaiflow.structures.dataset import open_dataset
    from dismaiflow.structures.files import check_out_folder

    opened = open_dataset(dataset)
    spec = find_system(system or opened.card.system)
    if spec.name != opened.card.system:
        raise DismaiError(f"{dataset}: is a dataset of {opened.card.system}, not of {spec.name}")
    choice = choose_model(model, spec, size, settings)
    maker = TrainModelMaker(max_seconds=max_seconds, stops_here=not submit)
    if out_dir is not None:
        check_out_folder(out_dir)
        check_scratch()
    with kept_trainings("train", out_dir) as maker.folder_key, open_place(submit) as place:
        stored = store_dataset(place.store, opened)
        job = fit_category(
            maker.make(choice, spec.self_contained(), stored, seed), open_model(choice)
        )
        flow = Flow([job], output=job.output, name=f"train {choice.name} on {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": choice.name, "protocol": "none"}, dynamic=True
        )
        if submit:
            submit_flow(flow, place, tags or (), json)
            return
        done = run_flow(flow, place.store, json, tags or ())
        document = TrainedModelDoc.model_validate(done.result(flow.output))
        assert out_dir is not None
        export_model(place.store, document, out_dir)
    if json:
        print_json(document.model_dump(mode="json", exclude={"files"}))
        return
    steps = f"{document.step:,} steps, {document.epoch:,} epochs, " if document.step else ""
    out.print(f"{document.model}: {steps}{document.seconds:.0f} s", markup=False)
    out.print(f"wrote {out_dir}; next: dismai generate {out_dir} --n 1000 --out FILE.extxyz")


def generate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A folder that `dismai train` has written.")
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="Structures.")],
    out_file: Annotated[Path, typer.Option("--out", help="The extxyz file to write.")],
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all randomness.")] = 0,
    snapshot: Annotated[
        str | None, typer.Option(help="Weights of an earlier epoch, such as epoch-000100.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A setting that only sampling reads; several times."
        ),
    ] = None,
) -> None:
    """Generate structures with a trained model."""
    import numpy as np

    from dismaiflow.models.choosing import parse_settings
    from dismaiflow.models.folder import open_trained, sample_folder, sampled_with
    from dismaiflow.structures.dataset import extxyz_text
    from dismaiflow.structures.files import write_text

    if out_file.exists():
        raise DismaiError(f"{out_file}: is there already; choose another file")
    if not out_file.absolute().parent.is_dir():
        raise DismaiError(f"{out_file.parent}: no such folder")
    document = sampled_with(open_trained(checkpoint), parse_settings(settings or ()))
    found = sample_folder(checkpoint, document, n, seed, snapshot)
    if not len(found.structures):
        raise DismaiError(f"{document.model}: generated nothing ({found.bad[0].detail})")
    write_text(out_file, extxyz_text(found.structures))
    if found.bad:
        first = found.bad[0]
        err.print(
            f"{len(found.bad)} of {n} are missing: {first.reason} ({first.detail})", style="yellow"
        )
    broken = sum(not np.isfinite(atoms.positions).all() for atoms in found.structures)
    if broken:
        err.print(f"{broken} of {n} hold coordinates that are not finite", style="yellow")
    out.print(f"wrote {len(found.structures)} structures to {out_file}", soft_wrap=True)
