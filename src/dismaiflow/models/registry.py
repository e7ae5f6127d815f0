"""Models by name."""

from __future__ import annotations

import difflib
import importlib
import operator
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import GenerativeModel

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from types import ModuleType

ENTRY_POINT_GROUP = "dismaiflow.models"


def list_models() -> dict[str, EntryPoint]:
    """Return the registered models by name, sorted."""
    found = entry_points(group=ENTRY_POINT_GROUP)
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def get_model(name: str) -> GenerativeModel:
    """Make a model.

    Parameters
    ----------
    name : str
        A registered name, or ``module:Class``.

    Raises
    ------
    DismaiError
        If there is no such model, it cannot be imported, or it lacks a method.
    """
    registered = list_models()
    try:
        if name in registered:
            made = registered[name].load()()
        elif ":" in name:
            module, _, attribute = name.partition(":")
            made = operator.attrgetter(attribute)(_import(module))()
        else:
            near = difflib.get_close_matches(name, registered, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "give module:Class"
            raise DismaiError(f"unknown model {name!r}: {hint} (`dismai models list` shows all)")
    except DismaiError:
        raise
    except Exception as error:  # whatever somebody else's module raises
        why = (str(error).strip().splitlines() or [""])[0]
        raise DismaiError(
            f"model {name}: cannot be made ({type(error).__name__}: {why})"
        ) from error
    if not isinstance(made, GenerativeModel):
        raise DismaiError(f"model {name}: needs the methods fit, sample and card")
    return made


def _import(module: str) -> ModuleType:
    """Import a module, also from the current folder, which a console script does not search."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return importlib.import_module(module)
