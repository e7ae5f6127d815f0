"""Variants of a model that one study compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.campaigns.study_schemas import Variant
from dismaiflow.errors import DismaiError
from dismaiflow.models.choosing import choose_model, model_names, settings_of
from dismaiflow.models.presets import PAPER, alignment_of, has_preset
from dismaiflow.models.random_structures import CONTROL_MODELS
from dismaiflow.models.registry import open_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.models.registry import ModelChoice
    from dismaiflow.systems import SystemSpec

#: Setting in which models that can be looked at during their training name the epochs.
SNAPSHOT_SETTING = "snapshot_epochs"

#: Settings that make no other model.
_NOT_THE_MODEL = ("device", "sample_batch_size", SNAPSHOT_SETTING)

#: Settings of a training that ends when its time is spent, however many steps that gives.
_TIME_SETTING, _ENDLESS = "max_train_seconds", {"max_steps": None, "epochs": 10**9}


def model_variants(
    models: str,
    spec: SystemSpec,
    size: str = PAPER,
    settings: Sequence[str] = (),
    own_alignments: bool = False,
) -> list[Variant]:
    """Return one model, or several to be compared with each other (Tables 1 to 3).

    Parameters
    ----------
    models : str
        A model, several with commas between, or ``all`` for those of the paper.
    spec : SystemSpec
        The system, which decides the settings of the paper's models.
    size : str
        Preset of these.
    settings : sequence of str
        ``KEY=VALUE`` for all, of which controls beside other models are left out, or
        ``MODEL.KEY=VALUE`` for one. What is changed becomes part of the label, so that scores are
        not taken for those of the paper's model.
    own_alignments : bool
        Whether structures of each model are aligned with an alloy's lattice as its published
        script does.

    Raises
    ------
    DismaiError
        If a model is unknown, named twice, or does not take a setting.
    """
    names = model_names(models)
    has_learners = any(name not in CONTROL_MODELS for name in names)
    found = []
    for name in names:
        own = settings_of(name, names, settings)
        if name in CONTROL_MODELS and has_learners:
            # What is set for all is meant for those that learn.
            own = [text.removeprefix(f"{name}.") for text in settings if _is_of(name, text)]
        # The sizes are those of presets, which own models beside the paper's do not have.
        sized = size if has_preset(name) or len(names) == 1 else PAPER
        choice = choose_model(name, spec, sized, own)
        changed = [text for text in own if text.partition("=")[0] not in _NOT_THE_MODEL]
        variant = plain_variant(choice, [*([] if sized == PAPER else [sized]), *changed])
        alignment = alignment_of(name) if own_alignments else None
        found.append(variant.model_copy(update={"alignment": alignment}))
    return found


def _is_of(name: str, setting: str) -> bool:
    return setting.startswith(f"{name}.")


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
    settings = open_model(choice).card().settings | choice.settings
    last, most = settings.get("epochs"), settings.get("max_steps")
    if most is not None or (last is not None and wanted[-1] > last):
        limit = f"max_steps={most}" if most is not None else f"epochs={last}"
        raise DismaiError(
            f"the training may end before epoch {wanted[-1]} ({limit}): set epochs={wanted[-1]} "
            "and max_steps=null"
        )
    return _snapshots(choice, SNAPSHOT_SETTING, {f"epoch-{n:06d}": n for n in wanted})


def equal_time_variants(variants: Sequence[Variant], seconds: float) -> list[Variant]:
    """Return models that are all trained for the same time, whatever their steps (Fig. S16).

    Parameters
    ----------
    variants : sequence of Variant
        The models.
    seconds : float
        Of training, all launches of an instance together.

    Raises
    ------
    DismaiError
        If one cannot be trained for a given time.
    """
    found = []
    for one in variants:
        if one.choice.name in CONTROL_MODELS:
            found.append(one)  # there is nothing to train
            continue
        # A budget of its own stands above that of all.
        own = one.choice.settings.get(_TIME_SETTING)
        settings = one.choice.settings | _ENDLESS | {_TIME_SETTING: own or seconds}
        changed = one.choice.model_copy(update={"settings": settings})
        try:
            open_model(changed)
        except DismaiError as error:
            raise DismaiError(
                f"{one.choice.name} cannot be trained for a given time: {error}"
            ) from None
        ends = "" if own else f" {seconds:g} s"
        names = {"label": one.label + ends, "name": one.name and one.name + ends}
        found.append(one.model_copy(update={"choice": changed, **names}))
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
