"""Errors that a user can mend."""

from __future__ import annotations


class DismaiError(Exception):
    """A wrong input or setting, said in one line that names it and the way out.

    The command prints the message and ends with exit code 2; nothing else of the package
    catches it.
    """


class MissingExtraError(DismaiError):
    """An optional package is needed and not installed.

    Parameters
    ----------
    package : str
        The import that failed.
    extra : str
        The extra of dismaiflow that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed: run `pip install 'dismaiflow[{extra}]'`"
        )
