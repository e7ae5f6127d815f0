"""Whether a model is shown to have learned: it has to beat what has seen no positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dismaiflow.benchmark.schemas import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Controls that have seen no training positions, only cells, compositions and species.
BLIND_CONTROLS = ("uniform-random", "random-separated", "random-grid", "random-generation")

#: Metrics of controls, by the name of the control, then of the metric.
ControlScores = dict[str, dict[str, float | None]]

#: The control that knows the lattice of an alloy and nothing of the order on it.
LATTICE_CONTROL = "random-occupancy"

#: Sets beside a score that are no controls: nothing has generated them.
REFERENCE_SETS = ("validation", "high-energy")

#: Printed beside a score whose model is not shown to have learned.
NOT_SHOWN = "not shown to learn"

#: The rule in one sentence, for captions.
LEARNING_RULE = (
    "shown to learn: every distance lies below those of the controls that have seen no training "
    "positions, at the upper end of its interval too, no more structures fail and at most half do, "
    "and no more pairs of atoms are too close than among atoms anywhere in the cell"
)

_FAILED = "percent_failed"

#: Per cent of the structures of a model that may fail: the distances of a few that do not are no
#: evidence.
MOST_FAILED = 50.0


@dataclass(frozen=True)
class LearningVerdict:
    """What a score says of its model beside its controls.

    Parameters
    ----------
    shown : bool
        Whether the model is shown to have learned: it beats every control that has seen no
        training positions, and there is one.
    against : dict of str to bool
        Whether it beats each of these, by name.
    knowing : dict of str to bool
        Whether it beats the other controls, which start from the training positions.
    text : str
        The same in a line.
    """

    shown: bool
    against: dict[str, bool]
    knowing: dict[str, bool]
    text: str


def learning_verdict(
    metrics: Mapping[str, Metric | float | None],
    controls: Mapping[str, Mapping[str, float | None]],
    kind: str,
    close_pairs: tuple[float, float] | None = None,
    as_generated: bool = False,
) -> LearningVerdict:
    """Tell whether a model is shown to have learned in generation.

    A control is beaten if each distance (``d_...``) of the model lies below that of the control,
    and no larger share of its structures failed. Of a metric with an interval (95 % of one set,
    or minimum and maximum over trained models) the upper end has to lie below: a model that makes
    noise would pass half of the time otherwise. A control without distances, because all of its
    structures failed, is beaten by whatever has distances and fails less.

    Parameters
    ----------
    metrics : mapping of str to Metric, float or None
        Metrics of the score.
    controls : mapping
        Metrics of the controls of the same score: by control, then by metric.
    kind : str
        Kind of the system. For an alloy the text always speaks of random occupancy, which beats
        every published model at 1500 K.
    close_pairs : tuple of float, optional
        Mean number of pairs of atoms of a structure that are too close, and the number that atoms
        anywhere in the cell have. A model with more has collapsed, whatever its distances.
    as_generated : bool
        Whether structures without a lattice were scored without being relaxed. Collapsed ones do
        not fail then, so that the number of close pairs has to be known.

    Returns
    -------
    LearningVerdict
        Not shown where no control that has seen no positions was scored.
    """
    names = [name for name in metrics if name.startswith("d_")]
    beaten = {
        name: bool(names)
        and all(_below(metrics[m], values.get(m)) for m in names)
        and _no_more_fail(metrics, values)
        for name, values in controls.items()
        if name not in REFERENCE_SETS
    }
    against = {name: won for name, won in beaten.items() if name in BLIND_CONTROLS}
    knowing = {name: won for name, won in beaten.items() if name not in BLIND_CONTROLS}
    shown = bool(against) and all(against.values())
    doubt = _doubt(close_pairs, as_generated) if shown else ""
    text = _text(shown, against, knowing, kind, doubt)
    return LearningVerdict(shown and not doubt, against, knowing, text)


def _doubt(close_pairs: tuple[float, float] | None, as_generated: bool) -> str:
    """Say why distances that beat the controls show nothing; empty if they do."""
    if close_pairs is None:
        how = "the structures were scored as generated, and how many atoms are too close was not"
        return f"{how} counted" if as_generated else ""
    found, expected = close_pairs
    if found <= expected:
        return ""
    return (
        f"{found:.3g} pairs of atoms of a structure are too close, of atoms anywhere in the cell "
        f"{expected:.3g}"
    )


def _below(metric: Metric | float | None, control: float | None) -> bool:
    """Tell whether a distance lies below that of a control, which has none if all has failed."""
    if not isinstance(metric, Metric):
        metric = Metric(value=metric)
    if metric.value is None or not math.isfinite(metric.value):
        return False
    if metric.ci95 is not None and metric.ci95[0] == metric.ci95[1]:
        return False  # the interval of a single structure says nothing
    upper = metric.ci95[1] if metric.ci95 is not None else metric.max
    # the interval of a biased statistic may lie beside its value
    worst = metric.value if upper is None else max(metric.value, upper)
    return control is None or worst < control


def _no_more_fail(
    metrics: Mapping[str, Metric | float | None], control: Mapping[str, float | None]
) -> bool:
    own, others = _plain(metrics.get(_FAILED)), control.get(_FAILED)
    if own is not None and own > MOST_FAILED:
        return False
    if own is None or others is None:
        return True
    has_distances = any(v is not None for name, v in control.items() if name.startswith("d_"))
    return own <= others if has_distances else own < others


def _plain(metric: Metric | float | None) -> float | None:
    return metric.value if isinstance(metric, Metric) else metric


def _text(
    shown: bool, against: dict[str, bool], knowing: dict[str, bool], kind: str, doubt: str
) -> str:
    """Say which controls are beaten."""
    if not against:
        text = (
            f"{NOT_SHOWN}: no control that has seen no positions was scored beside it "
            f"({BLIND_CONTROLS[0]} among the models of a study is one)"
        )
    elif doubt:
        text = f"{NOT_SHOWN}: {doubt}"
    elif shown:
        text = f"shown to learn: beats {', '.join(against)}"
    else:
        text = f"{NOT_SHOWN}: does not beat {', '.join(n for n, won in against.items() if not won)}"
    won = [name for name, beaten in knowing.items() if beaten]
    lost = [name for name, beaten in knowing.items() if not beaten]
    said = [f"beats {', '.join(won)}"] if won else []
    said += [f"does not beat {', '.join(lost)}"] if lost else []
    if kind == "alloy" and LATTICE_CONTROL not in knowing:
        said.append(f"{LATTICE_CONTROL} was not scored beside it")
    return "; of the knowing controls it ".join([text, ", ".join(said)]) if said else text
