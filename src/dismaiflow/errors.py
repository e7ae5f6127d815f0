"""Errors that a user can mend."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError


class DismaiError(Exception):
    """A wrong input or setting, said in one line that names it and the way out.

    The command prints the message and ends with exit code 2.
    """


class BlobError(DismaiError):
    """A blob is missing from its store, or damaged: to try again does not help."""


#: Characters of an error of others that is quoted at most.
_LONGEST = 300


def one_line(error: BaseException) -> str:
    """Return the kind of an exception and the first line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def first_problem(error: ValidationError) -> str:
    """Say where a document is wrong, and how."""
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ")  # what pydantic puts before words of ours
    return f"{'.'.join(map(str, first['loc']))}: {said}".removeprefix(": ")


def wrong_setting(error: ValidationError, known: Iterable[str]) -> str:
    """Say which setting is wrong, and how; of an unknown one, which known one is like it.

    Parameters
    ----------
    error : pydantic.ValidationError
        Of a model that forbids extra fields.
    known : iterable of str
        Names of the settings.
    """
    # What a misspelt name causes ("missing") is no help.
    for problem in error.errors():
        if problem["type"] == "extra_forbidden":
            name = ".".join(map(str, problem["loc"]))
            return f"setting {name} is not known: {suggestion(name, known)}"
    first = error.errors()[0]
    if first["type"] == "value_error":  # in words of ours
        return f"setting {first_problem(error)}"
    name, rule = ".".join(map(str, first["loc"])), first["msg"].replace("Input should", "should", 1)
    return f"setting {name} {rule}, got {short(first['input'])}"


def short(value: object) -> str:
    """Return how a value is written, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return how to mend a misspelt word.

    Parameters
    ----------
    word : object
        What was written; compared without regard to case.
    known : iterable of str
        The words to choose from.

    Returns
    -------
    str
        A question with up to three known words that are about equally like it, else all words.
    """
    text = str(word).lower()
    likeness = {name: difflib.SequenceMatcher(a=name.lower(), b=text).ratio() for name in known}
    best = max(likeness.values(), default=0.0)
    if best < 0.6:
        return f"known: {', '.join(likeness) or 'none'}"
    close = [name for name, ratio in likeness.items() if ratio > best - 0.07][:3]
    return f"did you mean {' or '.join(close)}?"
