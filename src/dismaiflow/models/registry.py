"""Models by name, and as any worker can make them again."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import operator
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.models.base import GenerativeModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import EntryPoint
    from types import ModuleType

ENTRY_POINT_GROUP = "dismaiflow.models"

#: What files of command lines end in.
COMMAND_SUFFIXES = (".yaml", ".yml")


class ModelChoice(BaseModel):
    """A model and its settings, small enough for any job.

    Parameters
    ----------
    name : str
        A registered name, ``module:Class``, ``FILE.py:Class``, or the name of a command model.
    settings : dict
        Settings that differ from the model's own.
    command : dict, optional
        Of a model given by command lines: what its YAML file says (`CommandModel`).
    file : str, optional
        Of ``FILE.py:Class``: the file, which workers find at the same place.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    command: dict[str, Any] | None = None
    file: str | None = None

    def with_settings(self, settings: Mapping[str, Any]) -> ModelChoice:
        """Return it with some settings changed."""
        return self.model_copy(update={"settings": self.settings | dict(settings)})

    def without_settings(self, names: Iterable[str]) -> ModelChoice:
        """Return it without some settings."""
        left = {key: value for key, value in self.settings.items() if key not in set(names)}
        return self.model_copy(update={"settings": left})


def choose(name: str, settings: Mapping[str, Any] | None = None) -> ModelChoice:
    """Return what a user names as a choice that travels.

    Parameters
    ----------
    name : str
        A registered name, ``module:Class``, ``FILE.py:Class`` or a YAML file of command lines.
    settings : mapping, optional
        Settings of the model.

    Raises
    ------
    DismaiError
        If a YAML file cannot be read.
    """
    given = dict(settings or {})
    if name.endswith(COMMAND_SUFFIXES):
        from dismaiflow.models.command import read_command

        command = read_command(Path(name))
        return ModelChoice(name=command["name"], settings=given, command=command)
    path, sign, attribute = name.rpartition(":")
    if sign and path.endswith(".py"):
        file = Path(path).absolute()
        return ModelChoice(name=f"{file.name}:{attribute}", settings=given, file=str(file))
    return ModelChoice(name=name, settings=given)


def source_files(choice: ModelChoice) -> list[Path]:
    """Return the files by which a user gives a model, as far as they are named.

    Those of ``FILE.py:Class``, and what the words of a command model name.
    """
    if choice.file is not None:
        return [Path(choice.file)]
    if choice.command is None:
        return []
    home = Path(choice.command["folder"])
    words = [*choice.command["train"], *choice.command["generate"]]
    return sorted({home / word for word in words if (home / word).is_file()})


def open_model(choice: ModelChoice) -> GenerativeModel:
    """Make the model of a choice.

    Raises
    ------
    DismaiError
        If it cannot be made here, or does not take the settings.
    """
    if choice.command is not None:
        from dismaiflow.models.command import CommandModel

        if choice.settings:
            raise DismaiError(
                f"model {choice.name}: is given by command lines, which take no settings here "
                f"({', '.join(choice.settings)}): write them into its YAML file"
            )
        return CommandModel(choice.command)
    return _made(choice.name, _class_of(choice), choice.settings)


def list_models() -> dict[str, EntryPoint]:
    """Return the registered models by name, sorted."""
    found = entry_points(group=ENTRY_POINT_GROUP)
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def get_model(name: str, settings: Mapping[str, Any] | None = None) -> GenerativeModel:
    """Make a model.

    Parameters
    ----------
    name : str
        See `choose`.
    settings : mapping, optional
        Its settings.

    Raises
    ------
    DismaiError
        If there is no such model, it cannot be imported, does not take the settings, or lacks a
        method.
    """
    return open_model(choose(name, settings))


def _class_of(choice: ModelChoice) -> Callable[..., Any]:
    """Find what makes a model.

    Raises
    ------
    DismaiError
        If there is no such model, or it cannot be imported.
    """
    name, registered = choice.name, list_models()
    module, sign, attribute = name.rpartition(":")
    try:
        if name in registered:
            return registered[name].load()
        if sign:
            found = _import(module) if choice.file is None else _from_file(Path(choice.file))
            return operator.attrgetter(attribute)(found)
    except DismaiError:
        raise
    except Exception as error:  # whatever somebody else's module raises
        raise DismaiError(f"model {name}: cannot be made ({one_line(error)})") from error
    near = difflib.get_close_matches(name, registered, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "give module:Class or FILE.py:Class"
    raise DismaiError(f"unknown model {name!r}: {hint} (`dismai models list` shows all)")


def _made(name: str, model: Callable[..., Any], settings: Mapping[str, Any]) -> GenerativeModel:
    """Make an instance with its settings."""
    try:
        _check_settings(name, model, settings)
        made = model(**settings)
    except DismaiError:
        raise
    except Exception as error:  # whatever somebody else's class raises
        raise DismaiError(f"model {name}: cannot be made ({one_line(error)})") from error
    if not isinstance(made, GenerativeModel):
        raise DismaiError(f"model {name}: needs the methods fit, sample and card")
    _check_methods(name, made)
    return made


def _check_methods(name: str, made: GenerativeModel) -> None:
    """Refuse methods that cannot be called as `GenerativeModel` says, before any training."""
    fit, sample = inspect.signature(made.fit), inspect.signature(made.sample)
    for method, signature, given in (
        ("fit(data, folder, *, seed, budget)", fit, ((None, None), ("seed", "budget"))),
        ("sample(folder, n, *, seed)", sample, ((None, None), ("seed",))),
    ):
        places, names = given
        try:
            signature.bind(*places, **dict.fromkeys(names))
        except TypeError as error:
            raise DismaiError(f"model {name}: needs {method} ({error})") from None


def _check_settings(name: str, model: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Refuse settings that a model does not have, naming those that it has."""
    if not settings:
        return
    taken = inspect.signature(model).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values()):
        return  # it checks them itself
    unknown = [key for key in settings if key not in taken]
    if unknown:
        known = ", ".join(taken) or "none"
        raise DismaiError(f"model {name}: has no setting {unknown[0]!r}; it has {known}")


def _import(module: str) -> ModuleType:
    """Import a module, also from the current folder, which a console script does not search."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return importlib.import_module(module)


def _from_file(path: Path) -> ModuleType:
    """Import a file by its path."""
    if not path.is_file():
        raise DismaiError(f"{path}: no such file; a model in a file is named FILE.py:Class")
    absolute = path.absolute()
    # Two files of one name are two modules.
    name = f"{path.stem}_{hashlib.sha256(str(absolute).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, absolute)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
