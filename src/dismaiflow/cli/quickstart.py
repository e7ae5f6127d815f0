"""``dismai quickstart``: the alloy benchmark at the paper's full size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dismaiflow.cli.console import MAX_SEED, out
from dismaiflow.cli.dataset import build_maker, check_targets, make_datasets
from dismaiflow.cli.inputs import card_controls, find_alloy
from dismaiflow.cli.run import open_store

#: The paper's four alloy datasets.
ALLOYS = ("alloy-300K-narrow", "alloy-300K-wide", "alloy-1500K-narrow", "alloy-1500K-wide")


def quickstart(
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder for the datasets and the report.")
    ] = Path("quickstart"),
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
) -> None:
    """Make the four alloy datasets at the paper's size, score the controls, write a report."""
    from dismaiflow.report.html import write_report
    from dismaiflow.report.tables import controls_table, dataset_table

    specs = [find_alloy(name) for name in ALLOYS]
    check_targets(out_dir, specs)
    maker = build_maker("corrected", "none", n_control, n_passes=n_passes)
    with open_store() as store:
        made = make_datasets(maker, specs, out_dir, store, seed, n, quiet=False)
    cards = [one.card for one in made.values()]
    controls = {card.system: card_controls(card) for card in cards if card.controls}
    path = out_dir / "report.html"
    write_report(path, datasets=cards, controls=controls, title="Dismai-Bench alloys")
    out.print(dataset_table(cards))
    out.print(controls_table(controls))
    out.print(f"datasets: {out_dir}/\nreport:   {path}", soft_wrap=True)
    example = out_dir / ALLOYS[-1]
    out.print(
        "next: score your own structures with\n"
        f"  dismai score {ALLOYS[-1]} generated.extxyz --reference {example} --out my-score",
        soft_wrap=True,
    )
