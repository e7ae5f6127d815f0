"""Options of the commands that train models."""

from __future__ import annotations

from typing import Annotated

import typer

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A registered name, module:Class, FILE.py:Class, or a YAML file with command lines.",
    ),
]
Size = Annotated[
    str,
    typer.Option(
        "--size",
        help="paper: the paper's settings; small: for a CPU, to try; or another of the preset.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the model; several times."),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        min=1,
        help="Time that one job may train; it goes on in another. Below the walltime of a queue.",
    ),
]
