"""Parts that the potentials of all engines share: hashes, versions, what is not installed."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError
from dismaiflow.structures.files import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

#: Elements that a message lists at most.
_LISTED = 12


def potential_hash(**facts: object) -> str:
    """Return the SHA-256 of the facts that decide the numbers of a potential.

    Parameters
    ----------
    facts : JSON values
        Engine, hashes of parameters and the like; no folder of a machine, no version.
    """
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of files by their names.

    Raises
    ------
    DismaiError
        If one cannot be read.
    """
    hashes = {}
    for name, path in files.items():
        try:
            hashes[name] = file_sha256(path)
        except OSError as error:
            raise DismaiError(f"{path}: cannot be read ({error.strerror or error})") from None
    return hashes


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def need_modules(name: str, extra: str, *modules: str, kind: str = "potential") -> None:
    """Check, without importing them, that modules are installed.

    Parameters
    ----------
    name : str
        What needs them.
    extra : str
        Extra of the package that brings them.
    modules : str
        Modules.
    kind : str
        What the name is the name of.

    Raises
    ------
    DismaiError
        If one is missing.
    """
    for module in modules:
        try:
            there = find_spec(module) is not None
        except (ImportError, ValueError):  # ValueError: a module that was set to None
            there = False
        if not there:
            raise DismaiError(
                f"{kind} {name!r} needs the package {module}: pip install 'dismaiflow[{extra}]'"
            )


def check_known(name: str, known: Sequence[str], elements: Iterable[str]) -> None:
    """Check that a potential knows elements.

    Parameters
    ----------
    name : str
        The potential.
    known : sequence of str
        Elements that it knows.
    elements : iterable of str
        Elements that it must know.

    Raises
    ------
    DismaiError
        If it does not know one.
    """
    unknown = sorted(set(elements) - set(known))
    if not unknown:
        return
    shown = ", ".join(known) if len(known) <= _LISTED else f"{len(known)} others"
    raise DismaiError(
        f"potential {name!r} does not know {', '.join(unknown)} (it knows {shown}): "
        "take another potential"
    )
