"""What a reader should know to read a score right, in sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dismaiflow.report.rows import controls_comparison, primary_metric, published_rows
from dismaiflow.report.words import (
    FLOOR_CONTROL,
    FRESH_CONTROL,
    RANDOM_CONTROL,
    metric_text,
    number,
    scale_control,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.published import PublishedComparison
    from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc

Level = Literal["plain", "note", "warning"]

#: A set of fingerprints this much narrower or wider than the training set is pointed out.
_NARROW, _WIDE = 0.8, 1.25

#: Structures closer to the training set than this share of what fresh ones are look like copies.
_COPIED = 0.5

#: A smaller share of distinct structures is pointed out.
_DISTINCT = 0.95

#: Order parameters this much closer than those of random occupancy are not what is wrong.
_LIKE = 0.5

#: With fewer structures than this share of those drawn for the floor, the floor is scaled.
_FEWER = 0.7

#: A distance up to this many times the floor is called the floor.
_AT_FLOOR = 1.1

#: A smaller floor is rounding: all structures of the reference are equal, or there is only one.
_ROUNDING = 1e-9

_Scores = dict[str, float | None]


@dataclass(frozen=True)
class Remark:
    """A sentence or two.

    Parameters
    ----------
    text : str
        Plain text.
    level : {"plain", "note", "warning"}
        How much it stands out.
    more : str
        What follows where there is room.
    """

    text: str
    level: Level = "plain"
    more: str = ""


def score_remarks(score: ScoreDoc) -> list[Remark]:
    """Return what the controls and the distributions say about a score."""
    remarks = [Remark(f"{mark[:1].upper()}{mark[1:]}.", "note") for mark in score.marks]
    primary = primary_metric(score.metrics)
    metric = score.metrics.get(primary) if primary else None
    value = metric.value if metric else None
    if primary and value is not None:
        remarks += _against_floor(primary, value, score)
        remarks += _against_random(
            primary, value, score.controls.get(RANDOM_CONTROL, {}), score.distribution
        )
    remarks += _distribution_remarks(score)
    if primary:
        remarks += random_beats_published(primary, score.controls, score.published)
    if not score.controls:
        remarks.append(
            Remark(
                "No controls were scored, so nothing here says what a distance of this size "
                "means: score against a dataset folder that has them.",
                "warning",
            )
        )
        return remarks
    return remarks + protocol_remarks(score.protocol)


def controls_remarks(documents: Sequence[ControlsDoc]) -> list[Remark]:
    """Return what the controls of a system say, by all protocols.

    They are set against the paper's values by the protocol that the paper used, if it is there.
    """
    if not documents:
        return []
    like_paper = [document for document in documents if document.protocol.name == "published"]
    first = (like_paper or list(documents))[0]
    names = {name for values in first.scores.values() for name in values}
    primary = primary_metric(sorted(names))
    remarks = []
    if primary:
        remarks += random_beats_published(primary, first.scores, controls_comparison(first))
    for document in documents:
        remarks += protocol_remarks(document.protocol)
    return remarks


def protocol_remarks(protocol: ScoringProtocol) -> list[Remark]:
    """Return the quirk of the published scripts that strikes exact lattices."""
    if (protocol.name, protocol.alignment) != ("published", "fixed"):
        return []
    return [
        Remark(
            "The published scripts lose the first atom of a structure when it stands exactly on a "
            "site: such a structure scores as having a vacancy.",
            "note",
            "This is a quirk of pymatgen's neighbour search, which the published protocol keeps. "
            "Sets on the exact lattice come out near 0.0095 for it. The controls are moved by "
            "0.00001 A before they are scored, as no model's output is exact; the corrected "
            "protocol has no such loss.",
        )
    ]


def random_beats_published(
    metric: str, controls: Mapping[str, _Scores], published: PublishedComparison
) -> list[Remark]:
    """Say what it means if random occupancy of the lattice has a smaller distance than a model."""
    control = controls.get(RANDOM_CONTROL, {}).get(metric)
    values = [(row.get(metric).value, row.name) for row in published_rows(published)]
    known = [(value, name) for value, name in values if value is not None]
    if control is None or not known:
        return []
    best, name = min(known)
    if control >= best:
        return []
    more = (
        "The alloy is nearly random at this temperature, so species shuffled over a clean lattice "
        f"come close to it, and vacancies can cost a model more than missing order. Read {metric} "
        "against this control, and beside the distributions of the order parameters."
    )
    if not published.comparable:
        more += " The paper's value was taken against its own training set."
    text = (
        f"Random occupancy of the lattice ({metric} {number(control)}) beats the paper's best "
        f"model ({name}, {number(best)}): the score alone does not show that a model learned order."
    )
    return [Remark(text, "note", more)]


def _against_floor(metric: str, value: float, score: ScoreDoc) -> list[Remark]:
    drawn = score.floor.get(metric)
    least, fewer = drawn, ""
    n = score.n_scored / max(len(score.per_run), 1)
    if drawn is not None and score.floor_n and 0 < n < _FEWER * score.floor_n:
        # The mean of n structures lies some 1 / sqrt(n) from that of all.
        least = drawn * math.sqrt(score.floor_n / n)
        fewer = f" of as few as {n:.0f} ({number(drawn)} of {score.floor_n:,})"
    if least is None:
        return []
    if least < _ROUNDING:
        text = "The training structures do not differ, so there is no floor to read the score by."
        return [Remark(text, "warning")]
    if value <= _AT_FLOOR * least:
        text = (
            f"{metric} is at the floor{fewer}: training structures drawn again score "
            f"{number(least)}."
        )
    else:
        text = (
            f"{metric} is {number(value / least, 2)} times the floor of {number(least)}{fewer}, "
            "which training structures drawn again score."
        )
    return [Remark(text)]


def _against_random(metric: str, value: float, control: _Scores, found: _Scores) -> list[Remark]:
    random = control.get(metric)
    if random is None:
        return []
    if value < random:
        return [Remark(f"Random occupancy of the lattice scores more: {number(random)}.")]
    ours, theirs = found.get("w1_sro"), control.get("w1_sro")
    more = ""
    if ours is not None and theirs is not None and ours < _LIKE * theirs:
        more = (
            f"Its order parameters are distributed more like those of the training set (W1 "
            f"{number(ours)}) than those of random occupancy ({number(theirs)}), so most "
            "of the distance comes from elsewhere, such as vacancies."
        )
    text = (
        f"Random occupancy of the lattice scores {number(random)}: by {metric}, this set is no "
        "closer to the training set than structures without any order."
    )
    return [Remark(text, "warning", more)]


def _distribution_remarks(score: ScoreDoc) -> list[Remark]:
    found = score.distribution
    remarks = []
    spread, unique = found.get("spread_ratio"), found.get("unique_fraction")
    if spread is not None and spread < _NARROW:
        text = (
            f"The generated set spreads {number(spread, 2)} times as wide as the training set: it "
            "may have collapsed onto a few kinds of structure."
        )
        remarks.append(Remark(text, "warning"))
    elif spread is not None and spread > _WIDE:
        text = f"The generated set spreads {number(spread)} times as wide as the training set."
        remarks.append(Remark(text))
    if unique is not None and unique < _DISTINCT:
        text = f"Only {number(100 * unique)} % of the generated structures are distinct."
        remarks.append(Remark(text, "warning"))
    return remarks + _copy_remarks(found, score.controls.get(FRESH_CONTROL, {}))


def _copy_remarks(found: _Scores, fresh: _Scores) -> list[Remark]:
    profile = found.get("nearest_profile_median")
    if profile is not None and profile < _COPIED:
        text = (
            "Half of the structures are at most "
            f"{number(profile, 2)} times as far from a training structure as training structures "
            "are from each other: they look like copies."
        )
        return [Remark(text, "warning")]
    near, usual = found.get("nearest_training_median"), fresh.get("nearest_training_median")
    if near is None or not usual or near >= _COPIED * usual:
        return []
    text = (
        f"Half of the structures differ from a training structure on at most "
        f"{number(100 * near, 2)} % of the sites, fresh ones of the same simulation on "
        f"{number(100 * usual, 2)} %: they look like copies."
    )
    return [Remark(text, "warning")]


def metric_reasons(score: ScoreDoc) -> list[str]:
    """Return why metrics are null or incomplete, one line each."""
    return [f"{name}: {metric.reason}" for name, metric in score.metrics.items() if metric.reason]


def floor_text(metric: str, controls: Mapping[str, _Scores]) -> list[tuple[str, str]]:
    """Return floor and scale of a metric, as label and number, where known."""
    found = []
    scale = scale_control(controls)
    for label, name in (("floor", FLOOR_CONTROL), *([scale[::-1]] if scale else [])):
        value = controls.get(name, {}).get(metric)
        if value is not None:
            found.append((label, metric_text(metric, value)))
    return found
