"""What a model has generated, compared with what was asked of it: counted, never dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.structures.checks import find_problem
from dismaiflow.structures.read import BadFrame, ReadStructures
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.models.base import GenerativeModel
    from dismaiflow.structures.checks import Expectation

#: Reason of structures that were asked for and did not come.
MISSING = "missing"


@dataclass(frozen=True)
class GeneratedCheck:
    """What is wrong with a generated set.

    Parameters
    ----------
    n_asked, n_sound : int
        Structures that were asked for, and those among them that can be scored.
    reasons : dict of str to int
        The others, by reason.
    first : dict of str to str
        The first detail of each reason.
    """

    n_asked: int
    n_sound: int
    reasons: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)


def sample_checked(model: GenerativeModel, folder: Path, n: int, seed: int) -> ReadStructures:
    """Sample a model, whoever wrote it.

    Raises
    ------
    DismaiError
        In one line, whatever it raises or returns instead of structures.
    """
    name = model.card().name
    try:
        return as_read(model.sample(folder, n, seed=seed), n)
    except DismaiError as error:
        text = str(error)
        raise DismaiError(text if name in text else f"{name}: {text}") from error
    except Exception as error:  # whatever somebody else's model raises
        raise DismaiError(f"{name}: sample failed ({one_line(error)})") from error


def as_read(sampled: StructureSet | ReadStructures, n: int) -> ReadStructures:
    """Return what a model has sampled as exactly so many frames.

    Parameters
    ----------
    sampled : StructureSet or ReadStructures
        What `GenerativeModel.sample` has returned.
    n : int
        Structures that were asked for. What is missing becomes a frame that cannot be read; what
        comes beyond them is left out, since nobody asked for it.

    Raises
    ------
    DismaiError
        If it is neither.
    """
    if not isinstance(sampled, StructureSet | ReadStructures):
        raise DismaiError(
            f"sample has returned {type(sampled).__name__}: it must return a StructureSet"
        )
    if not isinstance(sampled, ReadStructures):
        sampled = ReadStructures(sampled, np.arange(len(sampled), dtype=np.int64), [])
    came = sampled.n_frames
    inside = np.flatnonzero(sampled.indices < n)
    bad = [frame for frame in sampled.bad if frame.index < n]
    why = f"{came} of {n} structures were generated"
    bad += [BadFrame(index, MISSING, why) for index in range(came, n)]
    return ReadStructures(sampled.structures.select(inside), sampled.indices[inside], bad)


def validate_generated(
    sampled: StructureSet | ReadStructures, n: int, expected: Expectation
) -> GeneratedCheck:
    """Count what of a generated set can be scored, and what not for which reason.

    Parameters
    ----------
    sampled : StructureSet or ReadStructures
        What was generated.
    n : int
        Structures that were asked for.
    expected : Expectation
        Composition and cell that they must have.
    """
    found = as_read(sampled, n)
    problems = [(bad.reason, bad.detail) for bad in found.bad]
    for i in range(len(found.structures)):
        problem = find_problem(found.structures, i, expected)
        if problem is not None:
            problems.append(problem)
    first: dict[str, str] = {}
    for reason, detail in problems:
        first.setdefault(reason, detail)
    reasons = dict(Counter(reason for reason, _ in problems).most_common())
    return GeneratedCheck(n, n - len(problems), reasons, first)
