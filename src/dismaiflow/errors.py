"""Errors that a user can mend."""

from __future__ import annotations


class DismaiError(Exception):
    """A wrong input or setting, said in one line that names it and the way out.

    The command prints the message and ends with exit code 2.
    """


class BlobError(DismaiError):
    """A blob is missing from its store, or damaged: to try again does not help."""
