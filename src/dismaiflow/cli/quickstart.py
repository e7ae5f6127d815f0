"""``dismai quickstart``: the alloy benchmark at the paper's full size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dismaiflow.cli.console import MAX_SEED, out
from dismaiflow.cli.dataset import check_targets, make_datasets
from dismaiflow.cli.dataset_options import alloy_maker
from dismaiflow.cli.inputs import find_system
from dismaiflow.cli.submitting import Submit, Tags, check_place, open_place, submit_flow

if TYPE_CHECKING:
    from dismaiflow.structures.dataset import DatasetCard

#: The paper's four alloy datasets.
ALLOYS = ("alloy-300K-narrow", "alloy-300K-wide", "alloy-1500K-narrow", "alloy-1500K-wide")


def quickstart(
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the datasets and the report; quickstart if none."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all randomness.")] = 0,
    n_passes: Annotated[
        int | None,
        typer.Option(min=1, help="Passes of each Monte Carlo run; the paper's by default."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=2, help="Structures of each dataset; the paper's by default."),
    ] = None,
    n_control: Annotated[int, typer.Option(min=1, help="Structures drawn of each control.")] = 1000,
    submit: Submit = False,
    tags: Tags = None,
    json: Annotated[bool, typer.Option("--json", help="With --submit: print JSON.")] = False,
) -> None:
    """Make the four alloy datasets at the paper's size, score the controls, write a report."""
    check_place(out_dir, submit, default=True)
    specs = [find_system(name) for name in ALLOYS]
    maker = alloy_maker("corrected", "none", n_control, n_passes=n_passes)
    flow = maker.make(specs, seed, n)
    if submit:
        with open_place(submit) as place:
            submit_flow(flow, place, tags or (), json)
        return
    folder = out_dir or Path("quickstart")
    check_targets(folder, specs)
    with open_place(submit) as place:
        made = make_datasets(flow, specs, folder, place.store, False, tags or ())
    _report([one.card for one in made.values()], folder)


def _report(cards: list[DatasetCard], folder: Path) -> None:
    """Write the report, and print its tables and what to do next."""
    from dismaiflow.benchmark.question import card_controls
    from dismaiflow.report.html import write_report
    from dismaiflow.report.tables import controls_table, dataset_table

    controls = {card.system: card_controls(card) for card in cards if card.controls}
    path = folder / "report.html"
    write_report(path, datasets=cards, controls=controls, title="Dismai-Bench alloys")
    out.print(dataset_table(cards))
    out.print(controls_table(controls))
    out.print(f"datasets: {folder}/\nreport:   {path}", soft_wrap=True)
    example = folder / ALLOYS[-1]
    out.print(
        "next: score your own structures with\n"
        f"  dismai score {ALLOYS[-1]} generated.extxyz --reference {example} --out my-score",
        soft_wrap=True,
    )
