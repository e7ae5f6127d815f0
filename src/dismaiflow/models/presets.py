"""Settings of the paper's models, each with its source, by model and system."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from dismaiflow.systems import SystemSpec

#: The paper's settings; every model has them.
PAPER = "paper"

#: Keys of a preset file that are no sizes.
_LAYERS = ("model", "alignment", "settings", "kinds", "systems")


@dataclass(frozen=True)
class Preset:
    """Settings of a model for a system.

    Parameters
    ----------
    settings : dict
        The settings.
    sources : dict of str to str
        Where each comes from: a section, figure or table of the paper or its SI, the published
        code, or our choice.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


def has_preset(model: str) -> bool:
    """Tell whether there are settings for a model."""
    return model in preset_models()


@cache
def preset_models() -> tuple[str, ...]:
    """Return the models that have presets, sorted."""
    found = (entry.name for entry in files("dismaiflow.models").joinpath("presets").iterdir())
    return tuple(sorted(n.removesuffix(".yaml") for n in found if n.endswith(".yaml")))


def preset(model: str, spec: SystemSpec, size: str = PAPER) -> Preset:
    """Return the settings of a model for a system.

    What is said of the system stands above what is said of its kind, and this above what is said of
    all; what a size says stands above everything.

    Parameters
    ----------
    model : str
        One of `preset_models`.
    spec : SystemSpec
        The system.
    size : str
        ``paper``; or another that the model has: ``small``, which a processor can train in
        minutes, ``lattice`` of DiffCSP (Table S1), ``detailed`` of CryinGAN (section 4.4),
        ``shuffled`` of CrysTens and UniMat (Fig. S20).

    Raises
    ------
    DismaiError
        If there is no such preset.
    """
    if not has_preset(model):
        raise DismaiError(f"{model}: has no presets; {', '.join(preset_models())} have")
    table = _table(model)
    sizes = [PAPER, *(key for key in table if key not in _LAYERS)]
    if size not in sizes:
        raise DismaiError(f"--size {size}: {model} has {', '.join(sizes)}")
    merged = _layered(table, spec)
    if size != PAPER:
        chosen = table[size]
        merged |= _layered(chosen, spec) if "settings" in chosen else chosen
    return Preset(
        {name: entry["value"] for name, entry in merged.items()},
        {name: str(entry["source"]) for name, entry in merged.items()},
    )


def alignment_of(model: str) -> str | None:
    """Return how the published protocol aligns what a model generates with an alloy's lattice.

    The paper has a script for each model (section 4.3.3 and the published code).

    Parameters
    ----------
    model : str
        Any name of a model.

    Returns
    -------
    str or None
        ``fixed``, ``translated`` or ``rotated``; None for models that the paper does not have or
        does not score on alloys.
    """
    if not has_preset(model):
        return None
    alignment: str | None = _table(model)["alignment"]["value"]
    return alignment


def _layered(table: dict[str, Any], spec: SystemSpec) -> dict[str, Any]:
    """Return what a table says of a system, later layers above earlier ones."""
    merged: dict[str, Any] = {}
    for layer in (
        table.get("settings"),
        table.get("kinds", {}).get(spec.kind),
        table.get("systems", {}).get(spec.name),
    ):
        merged |= layer or {}
    return merged


@cache
def _table(model: str) -> dict[str, Any]:
    path = files("dismaiflow.models").joinpath(f"presets/{model}.yaml")
    table: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return table
