"""Variants of a model that one study compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.campaigns.study_schemas import Variant
from dismaiflow.errors import DismaiError
from dismaiflow.models.registry import open_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.models.registry import ModelChoice

#: Setting in which models that can be looked at during their training name the epochs.
SNAPSHOT_SETTING = "snapshot_epochs"

#: The same for seconds of training.
SECONDS_SETTING = "snapshot_seconds"


def plain_variant(choice: ModelChoice, changed: Sequence[str] = ()) -> Variant:
    """Return a model as it is, under its own name.

    Parameters
    ----------
    choice : ModelChoice
        The model.
    changed : sequence of str
        What sets it apart from the model that people know by this name, such as ``noise=0.1``:
        part of its label, so that its scores are not taken for those of the other.
    """
    return Variant(label=" ".join([open_model(choice).card().name, *changed]), choice=choice)


def scan_variants(choice: ModelChoice, setting: str, values: Sequence[Any]) -> list[Variant]:
    """Return a model with several values of one setting (Figs. 7, S15, S25: the loss weight).

    Raises
    ------
    DismaiError
        If there are no values, or one is given twice.
    """
    if not values or len({repr(value) for value in values}) < len(values):
        raise DismaiError(f"a scan of {setting} needs values, each once")
    return [named_variant(choice, f"{setting}={value}", {setting: value}) for value in values]


def named_variant(choice: ModelChoice, label: str, settings: Mapping[str, Any]) -> Variant:
    """Return a model with some settings changed (Figs. S30, S32: the architecture).

    Raises
    ------
    DismaiError
        If the model does not take them.
    """
    changed = choice.model_copy(update={"settings": choice.settings | dict(settings)})
    open_model(changed)
    return Variant(label=label, choice=changed)


def progress_variants(choice: ModelChoice, epochs: Sequence[int]) -> list[Variant]:
    """Return a model at several epochs of one training (Fig. S26).

    Raises
    ------
    DismaiError
        If no epoch is named, one is no epoch, or the model keeps no weights on the way.
    """
    wanted = sorted(set(epochs))
    if not wanted or wanted[0] < 1:
        raise DismaiError(f"epochs are whole numbers from 1, got {list(epochs)}")
    last, most = choice.settings.get("epochs"), choice.settings.get("max_steps")
    if most is not None or (last is not None and wanted[-1] > last):
        limit = f"max_steps={most}" if most is not None else f"epochs={last}"
        raise DismaiError(
            f"the training may end before epoch {wanted[-1]} ({limit}): set epochs={wanted[-1]} "
            "and max_steps=null"
        )
    return _snapshots(choice, SNAPSHOT_SETTING, {f"epoch-{n:06d}": n for n in wanted})


def equal_time_variants(choices: Mapping[str, ModelChoice], seconds: float) -> list[Variant]:
    """Return several models after the same time of training (Fig. S16).

    Parameters
    ----------
    choices : mapping of str to ModelChoice
        The models by their labels; each must train for longer than that.
    seconds : float
        Of training.
    """
    name = f"seconds-{int(seconds):06d}"
    found = []
    for label, choice in choices.items():
        (one,) = _snapshots(choice, SECONDS_SETTING, {name: seconds})
        found.append(one.model_copy(update={"label": label}))
    return found


def _snapshots(choice: ModelChoice, setting: str, wanted: Mapping[str, float]) -> list[Variant]:
    changed = choice.model_copy(
        update={"settings": choice.settings | {setting: list(wanted.values())}}
    )
    try:
        open_model(changed)
    except DismaiError as error:
        raise DismaiError(f"{choice.name} keeps no weights of its training: {error}") from None
    return [Variant(label=name, choice=changed, snapshot=name) for name in wanted]
