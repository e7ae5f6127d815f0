"""Potentials of the user: ``module:callable``, a function that returns an ASE calculator."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import operator
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.potentials.cards import installed_versions, potential_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType


@dataclass(frozen=True)
class FactoryPotential:
    """A potential that somebody's function makes.

    Parameters
    ----------
    card : PotentialCard
        What documents say of it.
    """

    card: PotentialCard
    # Its module has to be on the Python path of every worker.
    files: Mapping[str, Path] = field(default_factory=dict)

    def calculator(self) -> Any:
        """Return what the function returns."""
        return _call(self.card.name, _factory(self.card.name))

    def evaluator(self, device: str = "cpu") -> None:
        """There is none; ASE calculators compute one structure at a time."""


def open_factory(name: str) -> FactoryPotential:
    """Import a module and make a calculator with its function, as a trial.

    Parameters
    ----------
    name : str
        ``module:callable``; the module is found on the Python path or in the current folder. Its
        source makes the hash: what it reads from elsewhere is not seen.

    Raises
    ------
    DismaiError
        If there is no such module or function, or it does not return an ASE calculator.
    """
    factory = _factory(name)
    module = importlib.import_module(name.partition(":")[0])
    source = _source(name, module)
    close = getattr(_call(name, factory), "close", None)
    if close is not None:
        close()
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    root = module.__name__.partition(".")[0]
    card = PotentialCard(
        name=name,
        engine="callable",
        hash=potential_hash(engine="callable", name=name, source=digest),
        weights={source.name: digest},
        versions=installed_versions([*_distributions().get(root, ()), "ase"]),
    )
    return FactoryPotential(card)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return what is installed, which takes long to find out."""
    return packages_distributions()


def _factory(name: str) -> Any:
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # a console script does not search the current folder
    try:
        made = operator.attrgetter(attribute)(importlib.import_module(module))
    except Exception as error:  # whatever somebody else's module raises
        raise DismaiError(f"potential {name!r}: cannot be imported ({one_line(error)})") from error
    if not callable(made):
        raise DismaiError(f"potential {name!r}: is no function that returns an ASE calculator")
    return made


def _call(name: str, factory: Any) -> Any:
    try:
        made = factory()
    except Exception as error:  # whatever somebody else's function raises
        raise DismaiError(
            f"potential {name!r}: cannot be called without arguments ({one_line(error)})"
        ) from error
    # What ASE itself asks of a calculator; not all derive from its class.
    needed = ("get_potential_energy", "get_forces", "calculation_required")
    if inspect.isclass(made) or not all(hasattr(made, method) for method in needed):
        raise DismaiError(
            f"potential {name!r}: returned {type(made).__name__}, not an ASE calculator"
        )
    return made


def _source(name: str, module: ModuleType) -> Path:
    try:
        path = Path(inspect.getsourcefile(module) or "")
    except TypeError:  # built-in
        path = Path()
    if not path.is_file():
        raise DismaiError(
            f"potential {name!r}: its module has no source file, so it cannot be told from others"
        )
    return path
