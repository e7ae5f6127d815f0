"""From what a user says of a model to a choice that travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from dismaiflow.errors import DismaiError
from dismaiflow.models.presets import PAPER, has_preset, preset, preset_models
from dismaiflow.models.registry import choose, open_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.models.registry import ModelChoice
    from dismaiflow.systems import SystemSpec


#: Stands for all models of the paper.
ALL = "all"


def choose_model(
    name: str, spec: SystemSpec, size: str, settings: Sequence[str] | None
) -> ModelChoice:
    """Return a model with the settings of its preset, and those given on the command line.

    Parameters
    ----------
    name : str
        See `choose`.
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
    found: dict[str, Any] = {}
    if has_preset(name):
        found = dict(preset(name, spec, size).settings)
    elif size != PAPER:
        raise DismaiError(f"--size {size}: {name} has no presets; use --set")
    found |= parse_settings(settings or ())
    choice = choose(name, found)
    open_model(choice)
    return choice


def model_names(text: str) -> list[str]:
    """Return the models that a word names: one, several with commas between, or ``all``.

    Parameters
    ----------
    text : str
        ``all`` stands for the models of the paper, also among others.

    Raises
    ------
    DismaiError
        If one is named twice.
    """
    given = [name.strip() for name in text.split(",") if name.strip()]
    names = [one for name in given for one in (preset_models() if name == ALL else (name,))]
    if not names or len(set(names)) < len(names):
        raise DismaiError(f"{text}: name each model once, with commas between")
    return names


def settings_of(name: str, names: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return those of several ``KEY=VALUE`` and ``MODEL.KEY=VALUE`` that are meant for a model.

    Parameters
    ----------
    name : str
        The model.
    names : sequence of str
        All models; their names before a key say for which it is.
    given : sequence of str
        Settings. Those without a model are for all.

    Raises
    ------
    DismaiError
        If one names another model.
    """
    found = []
    for text in given:
        owner = next((one for one in names if text.startswith(f"{one}.")), None)
        if owner is None and "." in text.partition("=")[0]:
            raise DismaiError(f"--set {text}: names none of the models ({', '.join(names)})")
        if owner in (None, name):
            found.append(text.removeprefix(f"{name}."))
    return found


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
    """Return what a word means in YAML, in which 1e-3 is a number here."""
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
