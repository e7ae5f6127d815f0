"""Options of the commands that train models, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.models.registry import ModelChoice
    from dismaiflow.systems import SystemSpec

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


def choose_model(
    name: str, spec: SystemSpec, size: str, settings: Sequence[str] | None
) -> ModelChoice:
    """Return a model with the settings of its preset, and those given on the command line.

    Parameters
    ----------
    name : str
        As on the command line.
    spec : SystemSpec
        The system, which decides the preset.
    size : str
        Which preset.
    settings : sequence of str
        ``KEY=VALUE``, the value in YAML.

    Raises
    ------
    DismaiError
        If there is no such model, or it does not take the settings.
    """
    from dismaiflow.models.presets import PAPER, has_preset, preset
    from dismaiflow.models.registry import choose, open_model

    found: dict[str, Any] = {}
    if has_preset(name):
        found = dict(preset(name, spec, size).settings)
    elif size != PAPER:
        raise DismaiError(f"--size {size}: {name} has no presets; use --set")
    found |= parse_settings(settings or ())
    choice = choose(name, found)
    open_model(choice)
    return choice


def parse_settings(given: Sequence[str]) -> dict[str, Any]:
    """Return settings given as ``KEY=VALUE``.

    Raises
    ------
    DismaiError
        If one is not of this form.
    """
    found = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise DismaiError(f"--set {text}: give KEY=VALUE")
        found[key.strip()] = parse_value(value, f"--set {text}")
    return found


def parse_value(text: str, where: str) -> Any:
    """Return what a word on the command line means in YAML; 1e-3 is a number here."""
    try:
        return float(text) if _is_number(text) and "e" in text.lower() else yaml.safe_load(text)
    except yaml.YAMLError:
        raise DismaiError(f"{where}: {text!r} is no value of YAML") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def published_alignment(model: str) -> str | None:
    """Return the alignment of the script by which the paper has scored a model's alloys."""
    from dismaiflow.models.presets import alignment_of

    return alignment_of(model)
