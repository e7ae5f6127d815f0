"""Errors that a user can mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
