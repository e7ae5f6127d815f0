"""``dismai potential``: train, finetune, sweep, show, adopt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dismaiflow.cli.console import MAX_SEED, err, one_of, out, print_json, progress_bars
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from dismaiflow.potentials.model_card import ModelCard
    from dismaiflow.potentials.training.card import TrainedCard
    from dismaiflow.potentials.training.data import TrainingData
    from dismaiflow.potentials.training.settings import TrainingSettings

app = typer.Typer(help="Train interatomic potentials on labelled frames.", no_args_is_help=True)

Frames = Annotated[
    list[Path],
    typer.Argument(metavar="FRAMES", help="extxyz files, or folders with frames.json."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder; one with a checkpoint goes on.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes through the training set, in all.")]
Hours = Annotated[
    float | None, typer.Option(help="Training time in all, after which no epoch begins.")
]
MaxHours = Annotated[
    float | None, typer.Option(help="Time of this command; give it again to go on.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Frames of a step.")]
Rate = Annotated[float, typer.Option("--lr", help="Learning rate.")]
Optimizer = Annotated[str, typer.Option(help="adam or adamw.")]
Schedule = Annotated[str, typer.Option(help="Learning rate: constant, or cosine (falls).")]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of weights, order and split.")]
Split = Annotated[
    str | None, typer.Option(help="How files are split: parent (the default) or frame.")
]
Units = Annotated[int, typer.Option(min=1, help="Width of the network.")]
Blocks = Annotated[int, typer.Option(min=1, help="Rounds of message passing.")]
Elements = Annotated[
    list[str] | None,
    typer.Option("--element", help="An element to know, if the frames do not hold all."),
]
Mixed = Annotated[bool, typer.Option("--allow-mixed", help="Take labels of several sources.")]
Rehearsal = Annotated[bool, typer.Option("--rehearsal", help="Take frames of a rehearsal.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a potential.")]


@app.command()
def train(
    frames: Frames,
    out_dir: Out,
    epochs: Epochs = 100,
    hours: Hours = None,
    max_hours: MaxHours = None,
    batch_size: BatchSize = 4,
    lr: Rate = 1e-3,
    optimizer: Optimizer = "adam",
    schedule: Schedule = "constant",
    seed: Seed = 0,
    split: Split = None,
    units: Units = 64,
    blocks: Blocks = 3,
    elements: Elements = None,
    allow_mixed: Mixed = False,
    rehearsal: Rehearsal = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train an M3GNet from scratch. The same command goes on where it stopped."""
    settings = _settings(
        epochs=epochs,
        hours=hours,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        schedule=schedule,
        seed=seed,
        model={"units": units, "blocks": blocks},
    )
    data, how = _data(frames, split, seed, elements, allow_mixed, rehearsal)
    _train(out_dir, data, how, settings, None, device, max_hours, json)


@app.command()
def finetune(
    start: Annotated[Path, typer.Argument(metavar="DIR", help="Potential to start from.")],
    frames: Frames,
    out_dir: Out,
    epochs: Epochs = 100,
    hours: Hours = None,
    max_hours: MaxHours = None,
    batch_size: BatchSize = 4,
    lr: Rate = 1e-3,
    optimizer: Optimizer = "adam",
    schedule: Schedule = "constant",
    seed: Seed = 0,
    split: Split = None,
    refit_references: Annotated[
        bool, typer.Option(help="Fit the energies of the elements anew, for another functional.")
    ] = False,
    allow_mixed: Mixed = False,
    rehearsal: Rehearsal = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Go on with a trained potential on other frames. It needs its card."""
    settings = _settings(
        epochs=epochs,
        hours=hours,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        schedule=schedule,
        seed=seed,
        refit_references=refit_references,
    )
    data, how = _data(frames, split, seed, None, allow_mixed, rehearsal)
    _train(out_dir, data, how, settings, start, device, max_hours, json)


@app.command()
def sweep(
    frames: Frames,
    out_dir: Out,
    hours: Annotated[float, typer.Option(help="Training time of each model.")] = 24.0,
    pairs: Annotated[
        list[str] | None,
        typer.Option("--pair", help="LR,BATCH of a model; the four of Table S6 by default."),
    ] = None,
    seed: Seed = 0,
    split: Split = None,
    units: Units = 64,
    blocks: Blocks = 3,
    elements: Elements = None,
    allow_mixed: Mixed = False,
    rehearsal: Rehearsal = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train models with several learning rates and batch sizes, and choose the best.

    Each has a folder in --out; a sweep that was stopped goes on.
    """
    from dismaiflow.potentials.training.run import check_training, train_to_folder
    from dismaiflow.potentials.training.sweep import (
        TABLE_S6,
        best_row,
        sweep_row,
        sweep_settings,
    )
    from dismaiflow.structures.files import write_text

    shared = _settings(seed=seed, model={"units": units, "blocks": blocks})
    chosen = sweep_settings(shared, [*map(_pair, pairs)] if pairs else TABLE_S6, hours)
    data, how = _data(frames, split, seed, elements, allow_mixed, rehearsal)
    for name, settings in chosen.items():
        check_training(out_dir / name, data, settings, None, device)
    rows = []
    with progress_bars(json):
        for name, settings in chosen.items():
            made = train_to_folder(out_dir / name, data, settings, None, device, None, how)
            rows.append(sweep_row(name, made.card))
    best = best_row(rows).name
    document = {"best": best, "rows": [row.model_dump(mode="json") for row in rows]}
    from json import dumps

    write_text(out_dir / "sweep.json", dumps(document, indent=1) + "\n")
    if json:
        print_json(document)
        return
    from rich.table import Table

    titles = ("lr", "batch", "E (meV/atom)", "F (meV/Å)", "S (GPa)", "L", "best epoch", "epochs")
    table = Table(*titles, box=None, header_style="bold")
    for row in rows:
        e = row.errors
        cells = [
            f"{row.lr:g}",
            str(row.batch_size),
            f"{e.energy * 1e3:.2f}",
            f"{e.force * 1e3:.1f}",
        ]
        cells += ["-" if e.stress is None else f"{e.stress:.4f}", f"{row.loss:.4f}"]
        table.add_row(*cells, f"{row.best_epoch}", f"{row.epochs}")
    out.print(table)
    out.print(f"the smallest L: {out_dir / best}", soft_wrap=True, markup=False)


@app.command()
def show(folder: Folder, json: Json = False) -> None:
    """Print the card of a trained potential, its files compared with it."""
    from dismaiflow.potentials.model_card import CARD_NAME, read_model_card

    card = read_model_card(folder)
    if card is None:
        raise DismaiError(f"{folder}: has no {CARD_NAME}; is it the folder of a trained potential?")
    trained = _as_trained(card.model_dump(mode="json"))
    if json:
        print_json(card.model_dump(mode="json"))
    elif trained is None:
        _print_known(folder, card)
    else:
        _print_card(folder, trained)


@app.command()
def adopt(
    folder: Folder,
    matgl_version: Annotated[
        str, typer.Option(help="Version of matgl with which its weights were trained.")
    ],
) -> None:
    """Write a card for a folder that matgl saved, from what you know of it."""
    from dismaiflow.potentials.matgl_folder import inspect_matgl
    from dismaiflow.potentials.model_card import adopt_folder

    card = adopt_folder(folder, matgl_version, inspect_matgl(folder))
    out.print(
        f"{folder}: {len(card.elements)} elements, matgl {matgl_version}, weights "
        f"{card.weights_hash[:12]}",
        soft_wrap=True,
        markup=False,
    )


def _settings(**values: Any) -> TrainingSettings:
    from dismaiflow.potentials.training.settings import training_settings

    return training_settings(values)


def _pair(text: str) -> tuple[float, int]:
    try:
        rate, size = text.split(",")
        return float(rate), int(size)
    except ValueError:
        raise DismaiError(
            f"--pair {text}: give a learning rate and a batch size, as 0.001,4"
        ) from None


def _data(
    frames: list[Path],
    split: str | None,
    seed: int,
    elements: list[str] | None,
    allow_mixed: bool,
    rehearsal: bool,
) -> tuple[TrainingData, dict[str, Any]]:
    """Read and check frames."""
    from ase.data import atomic_numbers

    from dismaiflow.potentials.training.data import check_sets, read_sets

    unknown = [symbol for symbol in elements or () if not atomic_numbers.get(symbol)]
    if unknown:
        raise DismaiError(f"--element {unknown[0]}: no element is called so")
    if split is not None:
        split = one_of("--split", split, ("parent", "frame"))
    for path in frames:
        if not path.exists():
            raise DismaiError(f"{path}: no such file or folder")
    sets, how = read_sets(frames, split, seed)  # type: ignore[arg-type]
    data = check_sets(sets, elements, allow_mixed, rehearsal)
    if data.nameless:  # before hours of training, and not only in the card
        err.print(f"- {data.nameless}", style="yellow", soft_wrap=True, markup=False)
    return data, how


def _train(
    folder: Path,
    data: TrainingData,
    split: dict[str, Any],
    settings: TrainingSettings,
    start: Path | None,
    device: str,
    max_hours: float | None,
    json: bool,
) -> None:
    """Train, and say what came of it."""
    from dismaiflow.potentials.training.run import check_training, train_to_folder

    check_training(folder, data, settings, start, device)  # before a bar is drawn
    seconds = None if max_hours is None else max_hours * 3600
    with progress_bars(json):
        made = train_to_folder(folder, data, settings, start, device, seconds, split)
    if json:
        print_json(made.card.model_dump(mode="json"))
    else:
        _print_card(folder, made.card)


def _as_trained(content: dict[str, Any]) -> TrainedCard | None:
    from pydantic import ValidationError

    from dismaiflow.potentials.training.card import TrainedCard

    try:
        return TrainedCard.model_validate(content)
    except ValidationError:
        return None


def _print_known(folder: Path, card: ModelCard) -> None:
    """Print what is known of a potential that was not trained here."""
    from rich.table import Table
    from rich.text import Text

    facts = {
        "potential": str(folder),
        "source": card.source or "not known",
        "elements": " ".join(card.elements) or "not known",
        "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
        "weights": card.weights_hash[:12],
        "frames, errors": "not known",
        "use it": f"--potential matgl:{folder}",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(name, style="dim"), Text(value))
    out.print(table)


def _print_card(folder: Path, card: TrainedCard) -> None:
    from dismaiflow.cli.results_kinds import errors_table

    out.print(errors_table(card))
    lines = [
        f"{folder}: best epoch {card.best_epoch} of {card.done}; {card.seconds:.0f} s, "
        f"{card.device}",
        f"elements {' '.join(card.elements)}; matgl {card.versions['matgl']}, torch "
        f"{card.versions['torch']}; weights {card.weights_hash[:12]}",
        *(f"labels: {label.title}" for label in card.labels),
        f"use it: --potential matgl:{folder}",
    ]
    for line in lines:
        out.print(line, soft_wrap=True, markup=False)
    for warning in card.warnings:
        err.print(f"- {warning}", style="yellow", soft_wrap=True, markup=False)
